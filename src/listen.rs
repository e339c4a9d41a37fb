//! TCP listeners for IPv4 and IPv6.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
};

use rustix::{io::Errno, net::sockopt};
use tokio::net::{TcpListener, TcpSocket};

/// Length of the queue of connections that are not accepted yet.
const BACKLOG: u32 = 1024;

/// Listens at an address. `[::]` means every address of the host in both families, or every IPv4 address if the
/// host has no IPv6.
///
/// # Errors
/// If the address is in use, or does not belong to the host.
pub fn bind(at: SocketAddr) -> io::Result<TcpListener> {
    bind_with(at, |_| Ok(()))
}

/// As [`bind`], after `set` has configured the socket.
///
/// # Errors
/// If `set` fails, or the address is in use or does not belong to the host.
pub fn bind_with(at: SocketAddr, set: impl Fn(&TcpSocket) -> io::Result<()>) -> io::Result<TcpListener> {
    match listen(at, &set) {
        Err(error) if at.is_ipv6() && at.ip().is_unspecified() && is_without_v6(&error) => {
            listen(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), at.port()), &set)
        }
        done => done,
    }
}

fn listen(at: SocketAddr, set: &impl Fn(&TcpSocket) -> io::Result<()>) -> io::Result<TcpListener> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    if at.is_ipv6() && at.ip().is_unspecified() {
        // net.ipv6.bindv6only may default to true
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    socket.set_reuseaddr(true)?;
    set(&socket)?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

/// Whether an error means that the host has no IPv6, for example with `ipv6.disable=1`.
fn is_without_v6(error: &io::Error) -> bool {
    let codes = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

#[cfg(test)]
mod tests {
    use std::{
        net::{IpAddr, TcpStream},
        process::Command,
    };

    use super::*;

    /// Addresses in `by` at which a listener at `[::]` accepts connections.
    fn reached(by: &[&str]) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let _inside = runtime.enter();
        let listener = bind("[::]:0".parse().expect("an address")).expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let connects = |to: &&&str| {
            let to: IpAddr = to.parse().expect("an address");
            TcpStream::connect(SocketAddr::new(to, port)).is_ok()
        };
        by.iter().filter(connects).map(|to| (*to).to_owned()).collect()
    }

    #[tokio::test]
    async fn an_address_that_is_taken_or_another_hosts_is_refused() {
        let first = bind("127.0.0.1:0".parse().expect("an address")).expect("a listener");
        let error = bind(first.local_addr().expect("an address")).expect_err("it is taken");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        let error = bind("[2001:db8::1]:0".parse().expect("an address")).expect_err("it is another host's");
        assert_eq!(error.kind(), io::ErrorKind::AddrNotAvailable, "and no other one is taken for it");
    }

    #[test]
    fn a_host_without_ipv6_is_known_by_its_answers() {
        for (code, expected) in [(97, true), (99, true), (98, false), (13, false)] {
            assert_eq!(is_without_v6(&io::Error::from_raw_os_error(code)), expected, "{code}");
        }
    }

    /// The next test runs this in a network namespace of its own.
    #[test]
    #[ignore = "runs in a namespace that the other test makes"]
    fn inside() {
        let by = std::env::var("REACHED_BY").expect("addresses");
        let by: Vec<_> = by.split(',').collect();
        assert_eq!(reached(&by), by);
    }

    #[test]
    #[ignore = "needs network namespaces: make ipv6"]
    fn every_address_of_the_host_is_listened_at_whatever_families_it_has() {
        let v6 = "ip addr add fd00::1/64 dev lo nodad";
        for (host, setup, by) in [
            ("of both families", v6, "127.0.0.1,::1,fd00::1"),
            (
                "that separates them",
                "ip addr add fd00::1/64 dev lo nodad; echo 1 >/proc/sys/net/ipv6/bindv6only",
                "127.0.0.1,::1,fd00::1",
            ),
            (
                "of IPv6 alone",
                "ip addr add fd00::1/64 dev lo nodad; ip addr del 127.0.0.1/8 dev lo",
                "::1,fd00::1",
            ),
            ("whose IPv6 is off", "echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6", "127.0.0.1"),
        ] {
            let script = format!(
                "set -e; ip link set lo up; {setup}; exec \"$0\" --exact listen::tests::inside --ignored"
            );
            let own = std::env::current_exe().expect("the tests");
            let done = Command::new("unshare")
                .args(["--user", "--map-root-user", "--net", "sh", "-c", &script])
                .arg(own)
                .env("REACHED_BY", by)
                .output()
                .expect("unshare");
            let said =
                String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
            assert!(done.status.success() && said.contains("1 passed"), "a host {host}: {said}");
        }
    }
}
