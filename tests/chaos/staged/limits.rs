//! F19 to F22: a server that has run out of something, and a stranger on our keys. No job may be blamed for it.

use std::time::{Duration, Instant};

use super::{LEASE, SOON, all_done, due, judge, lacking, under_way};
use crate::{
    fleet::Fleet,
    machine,
    world::{Result, Server, World},
};

/// No run was called failed: whatever the server lacked was not the job's fault.
pub async fn nobody_failed(world: &World) -> Result<()> {
    let sql = "SELECT count(*), min(error) FROM chaos.run WHERE state IN ('failed', 'timed_out')";
    let rows = world.rows(sql, &[]).await?;
    let failed: i64 = rows[0].get(0);
    if failed > 0 {
        return Err(format!("{failed} runs failed: {:?}", rows[0].get::<_, Option<String>>(1)).into());
    }
    Ok(())
}

/// All connections are taken while jobs run, and while others become due.
pub async fn connections(server: &Server) -> Result<String> {
    let world = server.world().await?;
    let mut fleet = Fleet::start(&world, 3, Some(LEASE), 3).await?;
    fleet.ready(&world).await?;
    due(&world, 6, 150).await?;
    under_way(&world, 20).await?;
    let mut hogs = Vec::new();
    while let Ok((client, connection)) = world.config.connect(tokio_postgres::NoTls).await {
        tokio::spawn(connection);
        hogs.push(client);
    }
    let taken = hogs.len();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    drop(hogs);
    let relieved = Instant::now();
    all_done(&world, SOON).await?;
    let took = relieved.elapsed();
    nobody_failed(&world).await?;
    fleet.drain(SOON).await?;
    judge(&world, Some(&fleet))
        .await
        .map(|said| format!("{taken} connections taken, done {took:.1?} after relief; {said}"))
}

/// A stranger takes advisory locks until the server has no memory for more.
pub async fn lock_table(server: &Server) -> Result<String> {
    let world = server.world().await?;
    let mut fleet = Fleet::start(&world, 3, Some(LEASE), 3).await?;
    fleet.ready(&world).await?;
    due(&world, 6, 150).await?;
    under_way(&world, 20).await?;
    let stranger = world.session().await?;
    let (mut taken, mut most) = (0, 5000);
    while most > 0 {
        let sql = "SELECT count(pg_advisory_lock($1::bigint + i)) FROM generate_series(1, $2::int) i";
        match stranger.query_one(sql, &[&(1_i64 << 40 | taken), &most]).await {
            Ok(_) => taken += i64::from(most),
            Err(_) => most /= 2,
        }
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    drop(stranger);
    let relieved = Instant::now();
    all_done(&world, SOON).await?;
    let took = relieved.elapsed();
    nobody_failed(&world).await?;
    fleet.drain(SOON).await?;
    judge(&world, Some(&fleet))
        .await
        .map(|said| format!("{taken} locks taken, done {took:.1?} after relief; {said}"))
}

/// Another role holds the key of a due job: `why` names it, and the job runs once it is gone.
pub async fn stranger(server: &Server) -> Result<String> {
    let world = server.world().await?;
    let mut fleet = Fleet::start(&world, 2, Some(LEASE), 2).await?;
    fleet.ready(&world).await?;
    let role = format!("stranger_{}", world.database());
    world.execute(&format!("CREATE ROLE {role} LOGIN")).await?;
    let key = "SELECT m.lock_class, nextval('sexton.lock_id')::int + 1 FROM sexton.meta m";
    let rows = world.rows(key, &[]).await?;
    let (class, id): (i32, i32) = (rows[0].get(0), rows[0].get(1));
    let mut config = world.config.clone();
    let stranger = crate::world::open(config.user(&role)).await?;
    stranger.execute("SELECT pg_advisory_lock($1, $2)", &[&class, &id]).await?;
    due(&world, 1, 3).await?;
    let named = "SELECT sexton.why('due-0') LIKE '%held by backend%' || $1 || '%'";
    world.until("why names the stranger", Duration::from_secs(3), named, &[&role]).await?;
    drop(stranger);
    let relieved = Instant::now();
    all_done(&world, Duration::from_secs(10)).await?;
    let took = relieved.elapsed();
    fleet.drain(SOON).await?;
    world.execute(&format!("DROP ROLE {role}")).await?;
    judge(&world, Some(&fleet))
        .await
        .map(|said| format!("named by why(); done {took:.1?} after it was gone; {said}"))
}

/// A small file system that is ours for the time of a stage.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn mount(size: &str) -> Result<Tmpfs> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().to_string_lossy().into_owned();
        machine::run("mount", &["-t", "tmpfs", "-o", &format!("size={size},mode=0755"), "tmpfs", &path])?;
        Ok(Tmpfs(folder))
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let path = self.0.path().to_string_lossy().into_owned();
        if let Err(error) = machine::run("umount", &["-l", &path]) {
            eprintln!("{error}");
        }
    }
}

/// The disk of the server fills up under load, three times.
pub async fn disk_full() -> Result<String> {
    if !machine::is_root() {
        return lacking("mounting a tmpfs takes root");
    }
    let disk = Tmpfs::mount("400m")?;
    let folder = disk.0.path().join("server");
    let filler = disk.0.path().join("filler");
    let settings = [("max_wal_size", "48MB"), ("min_wal_size", "32MB"), ("log_min_messages", "error")];
    let mut server = Server::start_in(&folder, &settings).await?;
    let world = server.world().await?;
    let mut fleet = Fleet::start(&world, 3, Some(LEASE), 3).await?;
    fleet.ready(&world).await?;
    due(&world, 6, 400).await?;
    let mut crashes = 0;
    for fill in 0..3 {
        gets_on(&mut server, &world, 100 * (fill + 1)).await?;
        fill_up(&filler)?;
        // What needs room: rows, and log of a new segment.
        let greedy = "CREATE TABLE IF NOT EXISTS public.greedy (t text);
            INSERT INTO public.greedy SELECT repeat(md5(i::text), 30) FROM generate_series(1, 20000) i";
        let refused = world.session().await?.batch_execute(greedy).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        std::fs::remove_file(&filler)?;
        crashes += usize::from(refused.is_err());
        server.cluster.start_again().await?;
        fleet.heal()?;
    }
    let relieved = Instant::now();
    gets_on(&mut server, &world, 400).await?;
    all_done(&world, Duration::from_secs(60)).await?;
    let took = relieved.elapsed();
    nobody_failed(&world).await?;
    fleet.drain(SOON).await?;
    let said = judge(&world, Some(&fleet)).await?;
    drop(server);
    Ok(format!("3 times full ({crashes} statements refused), done {took:.1?} after the last; {said}"))
}

/// That many batches were committed. A server that recovers from a full disk may find it full still, and give up a moment
/// after we looked: whoever operates it starts it once more.
async fn gets_on(server: &mut Server, world: &World, batches: i64) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        server.cluster.start_again().await?;
        let there = tokio::time::timeout(Duration::from_secs(3), under_way(world, batches)).await;
        if let Ok(Ok(())) = there {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("it does not get on to {batches} batches").into());
        }
    }
}

/// Writes until nothing more fits.
fn fill_up(path: &std::path::Path) -> Result<()> {
    use std::io::Write;
    let mut file = std::fs::File::create(path)?;
    let piece = vec![0_u8; 64 * 1024];
    while file.write_all(&piece).is_ok() {}
    while file.write_all(&piece[..1024]).is_ok() {}
    Ok(())
}
