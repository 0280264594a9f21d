//! Connections: so many at once, each with a limit to how long it may say nothing, and all of them to their ends where the
//! server stops.

mod patience;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use mpo_progress::Progress;
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep};

use crate::error::ServeError;
use crate::generator::{Generator, Voice};
use crate::key::ServerKey;
use crate::limits::Limits;
use crate::openai::now;
use crate::routes::{Service, router};
use crate::served::Served;
use crate::worker::Worker;
use patience::Patient;

/// Connections at once; further ones wait to be accepted.
const MOST: usize = 512;

/// How long a connection may take to send a request's head, or the next one's.
const HEAD: Duration = Duration::from_secs(30);

/// How long a client may read nothing of what is sent to it.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked whether the server is to stop.
const LOOK: Duration = Duration::from_millis(50);

/// Serves until it is stopped by `progress`; then what is being answered is answered to its end. `voices` are the models by
/// their names, in the order in which `generator` knows them, and `on_served` hears of every request that is over.
///
/// # Errors
/// If the system does not let it serve, or nobody generates any more.
pub fn serve(
    listener: TcpListener,
    voices: Vec<(String, Arc<dyn Voice>)>,
    generator: Box<dyn Generator>,
    limits: Limits,
    key: Option<ServerKey>,
    progress: &dyn Progress,
    on_served: &mut dyn FnMut(&Served),
) -> Result<(), ServeError> {
    listener.set_nonblocking(true)?;
    let (told, mut served) = mpsc::unbounded_channel();
    let worker = Worker::start(generator, limits.waiting)?;
    let service = Arc::new(Service { voices, worker, limits, key, since: now(), told });
    let runtime = runtime::Builder::new_current_thread().enable_io().enable_time().max_blocking_threads(2).build()?;
    let ended = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let ended = accept(listener, &service, progress, &mut served, on_served).await;
        while let Ok(served) = served.try_recv() {
            on_served(&served);
        }
        ended
    });
    // Drops what connections were left, and with them what they waited for.
    drop(runtime);
    if let Ok(service) = Arc::try_unwrap(service).map_err(drop) {
        service.worker.join();
    }
    ended
}

async fn accept(
    listener: tokio::net::TcpListener,
    service: &Arc<Service>,
    progress: &dyn Progress,
    served: &mut mpsc::UnboundedReceiver<Served>,
    on_served: &mut dyn FnMut(&Served),
) -> Result<(), ServeError> {
    let router = router(Arc::clone(service));
    let places = Arc::new(Semaphore::new(MOST));
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let mut look = interval(LOOK);
    let ended = loop {
        if service.worker.has_ended() {
            break Err(ServeError::WorkerEnded);
        }
        if progress.is_stopped() {
            break Ok(());
        }
        tokio::select! {
            _ = look.tick() => {}
            Some(served) = served.recv() => on_served(&served),
            Some(_) = connections.join_next() => {}
            (place, accepted) = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, listener.accept().await)
            } => match accepted {
                Ok((stream, _)) => {
                    let connection = connection(stream, router.clone(), stopped.clone());
                    connections.spawn(async move {
                        connection.await;
                        drop(place);
                    });
                }
                // No more open files, say: there will be again when others have closed theirs.
                Err(error) if !is_of_one_connection(&error) => sleep(LOOK).await,
                Err(_) => {}
            },
        }
    };
    drop(listener);
    service.worker.stop();
    drop(stop);
    let end = Instant::now() + service.limits.time;
    while !connections.is_empty() && Instant::now() < end {
        tokio::select! {
            _ = look.tick() => {}
            Some(served) = served.recv() => on_served(&served),
            Some(_) = connections.join_next() => {}
        }
    }
    ended
}

/// Whether a failure to accept says something of one client alone.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset
    )
}

/// Answers the requests of a connection, one after another; when the server stops, the one under way and no other.
async fn connection(stream: TcpStream, router: Router, mut stopped: watch::Receiver<()>) {
    // Tokens are to go out one by one.
    _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(Patient::new(stream, PATIENCE)), service);
    let mut connection = std::pin::pin!(connection);
    tokio::select! {
        // A connection that breaks off has ended, too.
        _ = &mut connection => return,
        _ = stopped.changed() => connection.as_mut().graceful_shutdown(),
    }
    _ = connection.await;
}
