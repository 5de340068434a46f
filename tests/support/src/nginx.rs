//! nginx with a configuration of its own: it serves a folder and takes files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// The settings that differ from use to use.
#[derive(Clone, Copy, Debug)]
pub struct Nginx<'a> {
    /// Where its files are: it serves `files/` below, and takes what is put to `/up/`.
    pub folder: &'a Path,
    /// `127.0.0.1:8080`, or a port alone for all addresses.
    pub listen: &'a str,
    /// 0 for one process that is master and worker, which ends as a whole when it is killed.
    pub workers: u32,
}

impl Nginx<'_> {
    /// Makes the folder of files and the configuration, whose path it returns.
    pub fn prepare(self) -> Result<PathBuf> {
        let up = self.folder.join("files/up");
        fs::create_dir_all(&up).with_context(|| format!("making {}", up.display()))?;
        let file = self.folder.join("nginx.conf");
        fs::write(&file, self.configuration())
            .with_context(|| format!("writing {}", file.display()))?;
        Ok(file)
    }

    fn configuration(self) -> String {
        let Self { listen, .. } = self;
        let root = self.folder.display();
        let processes = match self.workers {
            0 => String::from("master_process off"),
            workers => format!("worker_processes {workers}"),
        };
        format!(
            "{processes}; pid {root}/nginx.pid; error_log {root}/nginx-error.log; daemon off; user root;
             events {{ worker_connections 512; }}
             http {{
               access_log off; keepalive_requests 100000000; client_max_body_size 100m; sendfile on;
               client_body_temp_path {root}/body; proxy_temp_path {root}/proxy; fastcgi_temp_path {root}/fastcgi;
               uwsgi_temp_path {root}/uwsgi; scgi_temp_path {root}/scgi;
               server {{
                 listen {listen}; root {root}/files;
                 location /up/ {{ dav_methods PUT; create_full_put_path on; }}
               }}
             }}\n"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_and_address_are_as_asked_for() {
        let of = |listen, workers| {
            let folder = Path::new("/f");
            Nginx {
                folder,
                listen,
                workers,
            }
            .configuration()
        };
        let alone = of("127.0.0.1:80", 0);
        assert!(
            alone.starts_with("master_process off; pid /f/nginx.pid;"),
            "{alone}"
        );
        assert!(
            alone.contains("listen 127.0.0.1:80; root /f/files;"),
            "{alone}"
        );
        assert!(of("80", 2).starts_with("worker_processes 2;"));
    }
}
