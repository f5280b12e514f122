//! F31: a package manager replaces the server's files while the server runs.
//!
//! The server's programs are copied to a folder of the suite's own, at the path that they have below `/`, since they find
//! their libraries from where they are. What is easy to get wrong: a session that has loaded a library keeps the old one;
//! it is new sessions that the new file breaks, and every new claim opens one.

use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{LEASE, SOON, all_done, due, judge, limits::nobody_failed, under_way};
use crate::{
    fleet::{Fleet, Member},
    world::{Result, Server, open},
};

/// Where a server has its files.
struct Places {
    programs: PathBuf,
    libraries: PathBuf,
    shared: PathBuf,
}

impl Places {
    async fn of(server: &Server) -> Result<Places> {
        let session = open(&server.cluster.config("postgres")).await?;
        let sql = "SELECT setting FROM pg_config() WHERE name = $1";
        let mut places = Vec::new();
        for name in ["BINDIR", "PKGLIBDIR", "SHAREDIR"] {
            places.push(PathBuf::from(session.query_one(sql, &[&name]).await?.get::<_, String>(0)));
        }
        let [programs, libraries, shared] = places.try_into().map_err(|_| "three places")?;
        Ok(Places { programs, libraries, shared })
    }

    /// The same below a folder: programs as copies, the rest as links.
    fn below(&self, folder: &Path) -> Result<Places> {
        let there = |path: &Path| folder.join(path.strip_prefix("/").unwrap_or(path));
        let copy = Places {
            programs: there(&self.programs),
            libraries: there(&self.libraries),
            shared: there(&self.shared),
        };
        for folder in [&copy.programs, &copy.libraries] {
            std::fs::create_dir_all(folder)?;
        }
        for entry in std::fs::read_dir(&self.programs)? {
            let entry = entry?;
            std::fs::copy(entry.path(), copy.programs.join(entry.file_name()))?;
        }
        for entry in std::fs::read_dir(&self.libraries)? {
            let entry = entry?;
            symlink(entry.path(), copy.libraries.join(entry.file_name()))?;
        }
        std::fs::create_dir_all(copy.shared.parent().ok_or("it lies in a folder")?)?;
        symlink(&self.shared, &copy.shared)?;
        Ok(copy)
    }
}

/// The library of PL/pgSQL becomes another one under jobs that run, and later the server is started anew.
pub async fn replaced(server: &Server) -> Result<String> {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755))?;
    let places = Places::of(server).await?.below(folder.path())?;
    let mut server = Server::start_from(&places.programs).await?;
    let world = server.world().await?;
    let mut fleet = Fleet::start(&world, 3, Some(LEASE), 2).await?;
    fleet.ready(&world).await?;
    due(&world, 8, 500).await?;
    under_way(&world, 20).await?;
    let library = places.libraries.join("plpgsql.so");
    let original = std::fs::read_link(&library)?;
    std::fs::remove_file(&library)?;
    std::fs::write(&library, "a library for another server")?;
    let refused = world.session().await?.batch_execute("SELECT sexton.pause('due-0')").await;
    if refused.is_ok() {
        return Err("a new session still has the old library: this shows nothing".into());
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    let met = |member: &Member| {
        std::fs::read_to_string(&member.process.log).is_ok_and(|log| log.contains("plpgsql"))
    };
    if !fleet.members.iter().any(met) {
        return Err("no replica met the new library: this shows nothing".into());
    }
    std::fs::remove_file(&library)?;
    symlink(original, &library)?;
    server.cluster.restart().await?;
    fleet.revive()?;
    all_done(&world, SOON).await?;
    nobody_failed(&world).await?;
    fleet.drain(SOON).await?;
    judge(&world, Some(&fleet)).await
}
