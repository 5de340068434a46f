if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload || :
    # After an upgrade, an agent at work becomes the new one.
    if [ "$1" -ge 1 ]; then
        systemctl try-restart socketvirt.service || :
    fi
fi
