//! The servers to try: `host`, `hostaddr` and `port` taken apart, each list element with its own default.
//!
//! It resolves no names. What is easy to get wrong: the lists pair up by position, and an empty element
//! means the default, not the previous element.

use std::{
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
};

use crate::error::Result;

use super::{machine::Machine, settings::Settings};

/// Where packaged and self-built servers put their Unix socket.
const SOCKET_FOLDERS: [&str; 2] = ["/var/run/postgresql", "/tmp"];

const DEFAULT_PORT: u16 = 5432;

/// One server to try.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Server {
    pub(super) place: Place,
    pub(super) port: u16,
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    /// A Unix socket in this folder.
    Socket(PathBuf),
    /// By TCP. The name is what certificates and password files call it; the address, if given, saves
    /// looking the name up.
    Tcp { name: String, address: Option<IpAddr> },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Socket(folder) => write!(f, "{}", folder.display()),
            Place::Tcp { name, .. } => f.write_str(name),
        }
    }
}

impl Server {
    /// What a password file calls it: sockets in the usual folders are `localhost` there.
    pub(super) fn name_in_passfile(&self) -> String {
        match &self.place {
            Place::Socket(folder) if SOCKET_FOLDERS.iter().any(|usual| Path::new(usual) == folder) => {
                "localhost".into()
            }
            place => place.to_string(),
        }
    }

    /// Whether what we send leaves this machine.
    pub(super) fn is_remote(&self) -> bool {
        match &self.place {
            Place::Socket(_) => false,
            Place::Tcp { address: Some(address), .. } => !address.is_loopback(),
            Place::Tcp { name, address: None } => {
                name != "localhost" && !name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
            }
        }
    }
}

/// The servers in the order in which to try them, at least one.
///
/// # Errors
/// If the lists do not pair up, or a port or address is none.
pub(super) fn servers(settings: &Settings, machine: &dyn Machine) -> Result<Vec<Server>> {
    let names = elements(settings.text("host"));
    let addresses = elements(settings.text("hostaddr"));
    let ports = elements(settings.text("port"));
    let count = names.len().max(addresses.len()).max(1);
    if !addresses.is_empty() && !names.is_empty() && addresses.len() != names.len() {
        let message = format!("{} addresses for {} hosts", addresses.len(), names.len());
        return Err(settings.wrong("hostaddr", message).with_remedy("give one address for each host"));
    }
    if ports.len() > 1 && ports.len() != count {
        let message = format!("{} ports for {count} hosts", ports.len());
        return Err(settings.wrong("port", message).with_remedy("give one port, or one for each host"));
    }
    (0..count)
        .map(|at| {
            let element = |list: &[&str]| list.get(at).copied().unwrap_or_default().to_owned();
            let port = if ports.len() == 1 { ports[0].to_owned() } else { element(&ports) };
            let port = parse_port(settings, &port)?;
            let place = place(settings, machine, &element(&names), &element(&addresses), port)?;
            Ok(Server { place, port })
        })
        .collect()
}

fn elements(list: Option<&str>) -> Vec<&str> {
    list.map(|list| list.split(',').map(str::trim).collect()).unwrap_or_default()
}

fn parse_port(settings: &Settings, text: &str) -> Result<u16> {
    match text.parse() {
        _ if text.is_empty() => Ok(DEFAULT_PORT),
        Ok(port) if port > 0 => Ok(port),
        _ => Err(settings.wrong("port", format!("\"{text}\" is not between 1 and 65535"))),
    }
}

fn place(settings: &Settings, machine: &dyn Machine, name: &str, address: &str, port: u16) -> Result<Place> {
    if !address.is_empty() {
        let parsed = address
            .parse()
            .map_err(|_| settings.wrong("hostaddr", format!("\"{address}\" is not an IP address")))?;
        let name = if name.is_empty() || name.starts_with('/') { address } else { name };
        return Ok(Place::Tcp { name: name.to_owned(), address: Some(parsed) });
    }
    match name {
        "" => Ok(default_place(machine, port)),
        _ if name.starts_with('/') => Ok(Place::Socket(name.into())),
        _ if name.starts_with('@') => {
            let error = settings.wrong("host", "Sexton knows no abstract Unix sockets");
            Err(error.with_remedy("name the folder of the socket, or the host"))
        }
        // Not repeated: what stands before the @ may be a password.
        _ if name.contains('@') => Err(settings
            .wrong("host", "an @ within the name of a host")
            .with_remedy("give user and password by their own keywords, or write a URL")),
        _ => Ok(Place::Tcp { name: name.to_owned(), address: None }),
    }
}

/// A socket of this machine, else `localhost`. `/tmp`, where anybody may put a socket, is looked at only where
/// the packages' folder does not exist.
fn default_place(machine: &dyn Machine, port: u16) -> Place {
    let [packaged, own] = SOCKET_FOLDERS.map(Path::new);
    let folder = if machine.exists(packaged) { packaged } else { own };
    if machine.exists(&folder.join(format!(".s.PGSQL.{port}"))) {
        Place::Socket(folder.into())
    } else {
        Place::Tcp { name: "localhost".into(), address: None }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::dsn, super::machine::fake::Fake, *};

    fn list(text: &str) -> Result<Vec<Server>> {
        servers(&dsn::parse(text).unwrap(), &Fake::new())
    }

    fn tcp(name: &str, address: Option<&str>, port: u16) -> Server {
        let address = address.map(|address| address.parse().unwrap());
        Server { place: Place::Tcp { name: name.into(), address }, port }
    }

    #[test]
    fn lists_pair_up_by_position() {
        assert_eq!(
            list("host=a,b,c port=1,,3").unwrap(),
            [tcp("a", None, 1), tcp("b", None, 5432), tcp("c", None, 3)]
        );
        assert_eq!(list("host=a,b port=7").unwrap(), [tcp("a", None, 7), tcp("b", None, 7)]);
        assert_eq!(list("host=a hostaddr=10.0.0.1").unwrap(), [tcp("a", Some("10.0.0.1"), 5432)]);
        assert_eq!(list("hostaddr=::1").unwrap(), [tcp("::1", Some("::1"), 5432)]);
        for text in [
            "host=a,b,c port=1,2",
            "host=a,b hostaddr=::1",
            "host=a port=0",
            "hostaddr=x",
            "host=@x",
            "host=bob:hunter2@x",
            "port=x",
        ] {
            assert!(list(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_default_is_a_socket_of_this_machine_if_there_is_one() {
        let default = |machine: &Fake| servers(&Settings::default(), machine).unwrap().remove(0);
        let packaged = Fake::new().with_file("/var/run/postgresql/.s.PGSQL.5432", "", 0o777);
        assert_eq!(default(&packaged).place, Place::Socket("/var/run/postgresql".into()));
        assert_eq!(default(&packaged).name_in_passfile(), "localhost");
        let own = Fake::new().with_file("/tmp/.s.PGSQL.5432", "", 0o777);
        assert_eq!(default(&own).place, Place::Socket("/tmp".into()));
        let planted = own.with_file("/var/run/postgresql/.s.PGSQL.5433", "", 0o777);
        assert_eq!(default(&planted), tcp("localhost", None, 5432));
    }

    #[test]
    fn loopback_and_sockets_are_not_remote() {
        for text in
            ["host=localhost", "host=127.0.0.1", "host=::1", "host=/tmp", "host=db1 hostaddr=127.0.0.2"]
        {
            assert!(!list(text).unwrap()[0].is_remote(), "{text}");
        }
        for text in ["host=db1", "host=10.0.0.1", "host=localhost hostaddr=10.0.0.1"] {
            assert!(list(text).unwrap()[0].is_remote(), "{text}");
        }
    }
}
