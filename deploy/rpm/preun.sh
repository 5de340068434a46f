if [ "$1" = 0 ]; then
    if [ -d /run/systemd/system ]; then
        systemctl --no-reload disable --now socketvirt.service || :
    fi
    # What an agent has left, by intent or because it was killed. A build without `drain` clears
    # that at any start.
    if [ -d /sys/fs/bpf/socketvirt ]; then
        socketvirt drain 2>/dev/null || socketvirt exec --quiet -- true ||
            echo "socketvirt: something is still pinned in /sys/fs/bpf/socketvirt" >&2
    fi
fi
