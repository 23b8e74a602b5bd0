//! The program that holds a port.

/// The program that listens on a TCP port of this machine, such as `nomad (process 4711)`; none if
/// that is hidden, as for other users' programs.
#[cfg(target_os = "linux")]
pub fn of_port(port: u16) -> Option<String> {
    use procfs::process::{FDTarget, all_processes};

    let sockets: Vec<u64> = [procfs::net::tcp(), procfs::net::tcp6()]
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.state == procfs::net::TcpState::Listen)
        .filter(|entry| entry.local_address.port() == port)
        .map(|entry| entry.inode)
        .collect();
    for process in all_processes().ok()?.flatten() {
        let Ok(descriptors) = process.fd() else {
            continue;
        };
        let holds = descriptors
            .flatten()
            .any(|fd| matches!(fd.target, FDTarget::Socket(inode) if sockets.contains(&inode)));
        if holds {
            let name = process.stat().ok()?.comm;
            return Some(format!("{name} (process {})", process.pid));
        }
    }
    None
}

/// Always none: this system does not show it.
#[cfg(not(target_os = "linux"))]
pub fn of_port(_port: u16) -> Option<String> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_very_program_is_found_as_the_holder_of_its_port() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let holder = of_port(port).unwrap();
        assert!(
            holder.contains(&format!("process {}", std::process::id())),
            "{holder}"
        );
        drop(listener);
        assert_eq!(of_port(port), None);
    }
}
