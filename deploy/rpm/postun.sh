if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload || :
    # After an upgrade, an agent at work becomes the new one, which takes over the connections on the
    # fast path (RestartKillSignal= in the unit).
    if [ "$1" -ge 1 ]; then
        systemctl try-restart socketvirt.service || :
    fi
fi
