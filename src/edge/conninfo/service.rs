//! Reads a service from `pg_service.conf`: a section of `keyword=value` lines under a name.
//!
//! It knows files alone, no LDAP. What is easy to get wrong: a personal file without the service is no error
//! yet, the system's file is asked next.

use std::path::PathBuf;

use crate::error::{Error, Result};

use super::{
    keywords,
    machine::{self, Machine},
    settings::{Origin, Settings},
};

/// Where packages keep the system's file, unless `PGSYSCONFDIR` says otherwise.
const SYSTEM_FOLDERS: [&str; 2] = ["/etc/postgresql-common", "/etc/sysconfig/pgsql"];

/// The settings of the service that `given` names, or none if it names no service.
///
/// # Errors
/// If no file defines the service, or its definition cannot be read.
pub(super) fn load(given: &Settings, machine: &dyn Machine) -> Result<Settings> {
    let Some(name) = given.text("service") else { return Ok(Settings::default()) };
    let mut looked_in = Vec::new();
    for path in candidates(given, machine) {
        let shown = path.display().to_string();
        match machine.read(&path) {
            Ok(contents) => {
                let text = String::from_utf8_lossy(&contents.bytes).into_owned();
                if let Some(settings) = section(&text, name, &shown)? {
                    return Ok(settings);
                }
                looked_in.push(shown);
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                looked_in.push(format!("{shown} (not there)"));
            }
            Err(error) => {
                return Err(Error::invalid("cannot read it")
                    .about(format!("service file {shown}"))
                    .caused_by(error));
            }
        }
    }
    Err(given
        .wrong("service", format!("no file defines \"{name}\""))
        .with_remedy(format!("looked in {}; PGSERVICEFILE names another", looked_in.join(", "))))
}

fn candidates(given: &Settings, machine: &dyn Machine) -> Vec<PathBuf> {
    let personal = match given.text("servicefile") {
        Some(path) => Some(path.into()),
        None => machine::home(machine).map(|home| home.join(".pg_service.conf")),
    };
    let system = match machine.variable("PGSYSCONFDIR").filter(|folder| !folder.is_empty()) {
        Some(folder) => vec![folder.into()],
        None => SYSTEM_FOLDERS.map(PathBuf::from).to_vec(),
    };
    personal.into_iter().chain(system.into_iter().map(|folder| folder.join("pg_service.conf"))).collect()
}

/// The section called `name`, if the text has one.
fn section(text: &str, name: &str, file: &str) -> Result<Option<Settings>> {
    let mut found: Option<Settings> = None;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(header) = line.strip_prefix('[') {
            if found.is_some() {
                break;
            }
            found = (header.strip_suffix(']') == Some(name)).then(Settings::default);
        } else if let Some(settings) = &mut found {
            let origin = Origin::Service { file: file.to_owned(), line: at + 1 };
            setting(settings, line, origin)?;
        }
    }
    Ok(found)
}

fn setting(settings: &mut Settings, line: &str, origin: Origin) -> Result<()> {
    let about = origin.to_string();
    if line.starts_with("ldap") {
        return Err(Error::invalid("Sexton does not ask LDAP for services").about(about));
    }
    let Some((name, value)) = line.split_once('=') else {
        return Err(Error::invalid("expected keyword=value").about(about));
    };
    match keywords::find(name) {
        Some(keyword) if matches!(keyword.name, "service" | "servicefile") => {
            Err(Error::invalid(format!("{name} cannot stand within a service")).about(about))
        }
        Some(keyword) => {
            settings.set(keyword, value.to_owned(), origin);
            Ok(())
        }
        None => Err(Error::invalid(format!("unknown keyword \"{name}\""))
            .about(about)
            .with_remedy(keywords::suggestion(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::machine::fake::Fake, *};

    const FILE: &str =
        "# ours\n[other]\nhost=other\n\n[billing]\nhost=db1\nport=5433\npassword=a b=c\n[billing]\nhost=x\n";

    fn load_billing(machine: &Fake) -> Result<Settings> {
        let machine = machine.clone().with_variable("PGSERVICE", "billing");
        load(&Settings::from_environment(&machine), &machine)
    }

    #[test]
    fn the_section_of_that_name_counts() {
        let settings =
            load_billing(&Fake::new().with_file("/home/ann/.pg_service.conf", FILE, 0o644)).unwrap();
        assert_eq!(settings.text("host"), Some("db1"));
        assert_eq!(settings.text("password"), Some("a b=c"));
    }

    #[test]
    fn the_systems_file_comes_after_the_personal_one() {
        let machine = Fake::new()
            .with_file("/home/ann/.pg_service.conf", "[other]\nhost=other\n", 0o644)
            .with_file("/etc/postgresql-common/pg_service.conf", FILE, 0o644);
        assert_eq!(load_billing(&machine).unwrap().text("port"), Some("5433"));
        let machine =
            machine.with_variable("PGSYSCONFDIR", "/srv").with_file("/srv/pg_service.conf", "", 0o644);
        let error = load_billing(&machine).unwrap_err();
        assert!(error.to_string().contains("no file defines \"billing\""), "{error}");
        assert!(error.remedy().is_some_and(|remedy| remedy.contains("/srv/pg_service.conf")));
    }

    #[test]
    fn mistakes_name_file_and_line() {
        let error = |text: &str| {
            let machine =
                Fake::new().with_variable("PGSERVICEFILE", "/s.conf").with_file("/s.conf", text, 0o644);
            load_billing(&machine).unwrap_err()
        };
        let unknown = error("[billing]\nhots=db1\n");
        assert_eq!(unknown.to_string(), "service file /s.conf, line 2: unknown keyword \"hots\"");
        assert_eq!(unknown.remedy(), Some("did you mean host?"));
        assert!(error("[billing]\nservice=other\n").to_string().contains("cannot stand within"));
        assert!(error("[billing]\nhost\n").to_string().contains("expected keyword=value"));
        assert!(error("[billing]\nldap://x/y?z=1\n").to_string().contains("LDAP"));
    }
}
