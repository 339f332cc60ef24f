//! How does the wire show what the model thought and did? As a list of tasks.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Source;

/// A list of tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Workflow {
    /// Who made it.
    #[serde(rename = "type")]
    pub kind: WorkflowKind,
    /// The tasks.
    pub tasks: Vec<Task>,
    /// What stands above them when it is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<WorkflowSummary>,
    /// Whether the tasks show.
    #[serde(default)]
    #[schema(required)]
    pub expanded: bool,
}

/// Who made a list of tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorkflowKind {
    /// The model, by thinking.
    Reasoning,
    /// An agent.
    Custom,
}

/// What stands above a list of tasks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum WorkflowSummary {
    /// How long it took.
    Duration {
        /// Whole seconds.
        duration: u64,
    },
    /// A text.
    Title {
        /// The text.
        title: String,
        /// The icon in front of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        icon: Option<String>,
    },
}

/// Something thought or done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Task {
    /// How far it is.
    #[serde(default)]
    #[schema(required)]
    pub status_indicator: StatusIndicator,
    /// What it is.
    #[serde(flatten)]
    pub kind: TaskKind,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StatusIndicator {
    /// It isn't said.
    #[default]
    None,
    /// Under way.
    Loading,
    /// Done.
    Complete,
}

/// What a task is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum TaskKind {
    /// A thought of the model.
    Thought {
        /// What stands above it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// The thought.
        content: String,
    },
    /// Something of an agent.
    Custom {
        /// What stands above it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// The icon in front of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        icon: Option<String>,
        /// What was done.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        content: Option<String>,
    },
    /// A search of the web.
    WebSearch {
        /// What stands above it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// The one query that stands for all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title_query: Option<String>,
        /// What was asked.
        #[serde(default)]
        #[schema(required)]
        queries: Vec<String>,
        /// What was found.
        #[serde(default)]
        #[schema(required)]
        sources: Vec<Source>,
    },
    /// A search of files.
    File {
        /// What stands above it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// What was found.
        #[serde(default)]
        #[schema(required)]
        sources: Vec<Source>,
    },
    /// The making of an image.
    Image {
        /// What stands above it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
    },
}
