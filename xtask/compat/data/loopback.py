"""An sshd of the run's own: keys, configuration and known hosts in its folder, none of the system's."""

import os
import subprocess

from compat import HERE, run, serve, write


def start_sshd(port):
    """Starts it and returns the words of an ssh client that reaches it."""
    folder = os.path.join(HERE, "ssh")
    os.mkdir(folder, 0o700)
    for name in ("host", "user"):
        run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{name}"])
    with open(f"{folder}/user.pub") as key:
        write(f"{folder}/authorized", key.read(), 0o600)
    with open(f"{folder}/host.pub") as key:
        write(f"{folder}/known", f"[127.0.0.1]:{port} {key.read()}", 0o600)
    write(
        f"{folder}/sshd_config",
        f"""Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/authorized
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin prohibit-password
AllowTcpForwarding yes
Subsystem sftp internal-sftp
LogLevel ERROR
MaxStartups 50
""",
    )
    # The folder that Debian's sshd wants for its unprivileged part.
    os.makedirs("/run/sshd", exist_ok=True)
    serve(["/usr/sbin/sshd", "-D", "-e", "-f", f"{folder}/sshd_config"], port)
    options = [f"Port={port}", f"IdentityFile={folder}/user", f"UserKnownHostsFile={folder}/known"]
    options += ["IdentitiesOnly=yes", "BatchMode=yes", "StrictHostKeyChecking=yes", "LogLevel=ERROR"]
    return ["ssh", "-F", "/dev/null", *(word for option in options for word in ("-o", option))]
