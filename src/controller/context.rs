//! What belongs to the process and every reconcile can reach. No decisions.

use std::sync::Arc;

use crate::controller::backoff::Backoff;
use crate::controller::cluster::Cluster;
use crate::controller::connection::budget_memory::BudgetMemories;
use crate::controller::connection::in_flight::Creates;
use crate::controller::connection::link::Connections;
use crate::controller::metrics::Metrics;
use crate::controller::settings::Settings;
use crate::controller::slots::Backlog;
use crate::controller::sweeps::Sweeps;

/// What belongs to the process and every reconcile can reach.
pub struct Context {
    /// The cluster.
    pub cluster: Cluster,
    /// The live side of all credentials.
    pub connections: Connections,
    /// How many new accounts wait for a slot.
    pub backlog: Backlog,
    /// The sweeps under way.
    pub sweeps: Sweeps,
    /// Creates that this process has under way.
    pub creates: Creates,
    /// What this process knows of each credential's removals beside its status.
    pub budgets: BudgetMemories,
    /// How long failing objects wait.
    pub backoff: Backoff,
    /// Counts what the controllers do.
    pub metrics: Arc<dyn Metrics>,
    /// The settings of the operator.
    pub settings: Settings,
    /// Whether anything is carried out.
    pub run: Run,
}

/// Whether a reconcile carries out what it decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// It does.
    Live,
    /// It stops before the first write and reports the calls that it would make.
    Preview,
}

impl Context {
    /// The context of a process that makes accounts from now on.
    pub fn new(cluster: Cluster, settings: Settings, metrics: Arc<dyn Metrics>, run: Run) -> Self {
        Self {
            cluster,
            connections: Connections::default(),
            backlog: Backlog::default(),
            sweeps: Sweeps::default(),
            creates: Creates::new(settings.call_timeout + settings.grace, run == Run::Live),
            budgets: BudgetMemories::default(),
            backoff: Backoff::default(),
            metrics,
            settings,
            run,
        }
    }

    /// Whether this is a preview, which carries nothing out.
    pub fn is_preview(&self) -> bool {
        self.run == Run::Preview
    }
}
