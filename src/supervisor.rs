//! The root actor: it spawns the token manager and the JWKS actor, restarts whichever crashes,
//! and stops both in order.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use futures_util::future::join_all;
use ractor::{Actor as _, ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::task::AbortHandle;
use tracing::Instrument;

use crate::clock::{Clock, Tick};
use crate::event::{Actor, Announcer, Change};
use crate::jwks::KeySet;
use crate::oauth2::AccessToken;
use crate::refresh::Resource;
use crate::refresh::actor::{Context, Refresher};
use crate::refresh::address::{Address, Lifeline};
use crate::refresh::backoff::Backoff;

/// Between the crash of an actor and its restart. There is no last restart: an actor that keeps
/// crashing is started again every half minute at most, and readers are served meanwhile.
const RESTART: Backoff = Backoff {
    base: Duration::from_millis(50),
    max: Duration::from_secs(30),
};

/// An actor that ran this long has recovered from whatever crashed it before.
const STEADY: Duration = Duration::from_secs(60);

/// How long the children may take to stop.
const GRACE: Duration = Duration::from_secs(1);

/// Restart the child of this index. Of a type of the language's own for the reason given in
/// `refresh::actor`.
type Restart = u8;

/// What the tree is started with and outlives each of its actors.
#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    pub(crate) tokens: Arc<Address<AccessToken>>,
    pub(crate) keys: Arc<Address<KeySet>>,
    pub(crate) announcer: Announcer,
    pub(crate) clock: Clock,
    pub(crate) seed: u64,
}

impl Runtime {
    fn announce(&self, actor: Actor, change: Change) {
        self.announcer
            .announce(actor, self.clock.wall(), &"".into(), change);
    }

    fn context<T: Resource>(&self, address: &Arc<Address<T>>, seed: u64) -> Context<T> {
        Context {
            address: Arc::clone(address),
            clock: self.clock.clone(),
            announcer: self.announcer.clone(),
            seed,
        }
    }
}

/// A started tree.
#[derive(Debug)]
pub(crate) struct Tree {
    root: ActorCell,
    pub(crate) lifeline: Arc<Lifeline>,
}

impl Tree {
    /// Starts the supervisor and both actors. `None` if the tokio runtime is shutting down.
    pub(crate) async fn start(runtime: Runtime) -> Option<Self> {
        // Outside the caller's span, which ends long before the tree does.
        let spawned = Supervisor::spawn(None, Supervisor, runtime)
            .instrument(tracing::Span::none())
            .await;
        let (root, _) = spawned.ok()?;
        let root = root.get_cell();
        Some(Self {
            lifeline: Arc::new(Lifeline(root.clone())),
            root,
        })
    }

    /// Stops the tree and waits until it has. May be called any number of times, by anybody.
    pub(crate) async fn stop(&self) {
        self.root.stop(None);
        let _ = self.root.wait(Some(GRACE * 2)).await;
    }
}

pub(crate) struct Supervisor;

/// One child: how it is found and how often it has crashed.
struct Child {
    actor: Actor,
    cell: Option<ActorCell>,
    started: Tick,
    crashes: u32,
    restart: Option<AbortHandle>,
}

impl Child {
    const fn new(actor: Actor) -> Self {
        Self {
            actor,
            cell: None,
            started: Tick::ZERO,
            crashes: 0,
            restart: None,
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if let Some(restart) = &self.restart {
            restart.abort();
        }
    }
}

/// The supervisor's state. However the tree ends, its drop tells every reader.
pub(crate) struct Root {
    runtime: Runtime,
    children: [Child; 2],
    rng: Rng,
}

impl Drop for Root {
    fn drop(&mut self) {
        self.runtime.tokens.close();
        self.runtime.keys.close();
        self.runtime.announce(Actor::Supervisor, Change::Stopped);
        self.runtime.announcer.close();
    }
}

#[ractor::actor(message = Restart, state = Root, arguments = Runtime)]
impl Supervisor {
    async fn pre_start(
        &self,
        myself: ActorRef<Restart>,
        runtime: Runtime,
    ) -> Result<Root, ActorProcessingErr> {
        let mut root = Root {
            rng: Rng::with_seed(runtime.seed),
            runtime,
            children: [Child::new(Actor::Jwks), Child::new(Actor::TokenManager)],
        };
        root.start(Actor::TokenManager, &myself).await;
        root.start(Actor::Jwks, &myself).await;
        Ok(root)
    }

    async fn handle(
        &self,
        myself: ActorRef<Restart>,
        child: Restart,
        root: &mut Root,
    ) -> Result<(), ActorProcessingErr> {
        if let Some(actor) = root
            .children
            .get(usize::from(child))
            .map(|child| child.actor)
        {
            root.start(actor, &myself).await;
            root.runtime.announce(actor, Change::Restarted { actor });
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Restart>,
        event: SupervisionEvent,
        root: &mut Root,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(cell, _)
            | SupervisionEvent::ActorTerminated(cell, ..) => {
                root.schedule_restart(&cell, &myself);
            }
            _ => {}
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<Restart>,
        root: &mut Root,
    ) -> Result<(), ActorProcessingErr> {
        // A supervisor that exits kills its children, which then cannot clean up. ractor's own way
        // to wait for them is tasks, and it panics where the runtime ends first and cancels these.
        let children = root.children.iter().filter_map(|child| child.cell.as_ref());
        join_all(children.map(|child| child.stop_and_wait(None, Some(GRACE)))).await;
        Ok(())
    }
}

impl Root {
    async fn start(&mut self, actor: Actor, myself: &ActorRef<Restart>) {
        let seed = self.rng.u64(..);
        let runtime = &self.runtime;
        let cell = match actor {
            Actor::TokenManager => spawn(&runtime.tokens, runtime, seed, myself).await,
            Actor::Jwks => spawn(&runtime.keys, runtime, seed, myself).await,
            Actor::Supervisor => return,
        };
        let now = self.runtime.clock.tick();
        let failed = cell.is_none();
        if let Some(child) = self.child(actor) {
            child.cell = cell;
            child.started = now;
            child.restart = None;
        }
        if failed {
            self.restart_later(actor, myself);
        }
    }

    fn child(&mut self, actor: Actor) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| child.actor == actor)
    }

    fn schedule_restart(&mut self, cell: &ActorCell, myself: &ActorRef<Restart>) {
        let is_it = |child: &&Child| {
            child
                .cell
                .as_ref()
                .is_some_and(|known| known.get_id() == cell.get_id())
        };
        if let Some(actor) = self.children.iter().find(is_it).map(|child| child.actor) {
            self.restart_later(actor, myself);
        }
    }

    fn restart_later(&mut self, actor: Actor, myself: &ActorRef<Restart>) {
        let now = self.runtime.clock.tick();
        let mut rng = self.rng.fork();
        let mut children = (0..).zip(&mut self.children);
        let Some((index, child)) = children.find(|(_, child)| child.actor == actor) else {
            return;
        };
        if now.since(child.started) > STEADY {
            child.crashes = 0;
        }
        let delay = RESTART.delay(child.crashes, &mut rng);
        child.crashes = child.crashes.saturating_add(1);
        child.cell = None;
        let crashes = child.crashes;
        tracing::error!(
            target: crate::event::log::TARGET,
            actor = actor.as_str(),
            crashes,
            ?delay,
            "actor crashed; restarting"
        );
        let myself = myself.clone();
        let timer = tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            let _ = myself.send_message(index);
        });
        if let Some(old) = child.restart.replace(timer.abort_handle()) {
            old.abort();
        }
    }
}

async fn spawn<T: Resource>(
    address: &Arc<Address<T>>,
    runtime: &Runtime,
    seed: u64,
    supervisor: &ActorRef<Restart>,
) -> Option<ActorCell> {
    let context = runtime.context(address, seed);
    let spawned =
        Refresher::spawn_linked(None, Refresher::<T>::new(), context, supervisor.get_cell());
    match spawned.await {
        Ok((actor, _)) => Some(actor.get_cell()),
        // The actor's own start cannot fail; the runtime is going down.
        Err(_) => None,
    }
}
