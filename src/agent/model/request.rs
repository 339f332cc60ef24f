//! What is a model asked? The thread, under the settings of its agent.

use serde_json::{Map, Value};

use crate::agent::Turn;
use crate::config::agents::AgentConfig;
use crate::protocol::{ItemKind, UserMessage};
use crate::upstream::model::{FunctionTool, InputItem, ModelRequest, ToolChoice};

/// The request of a turn: the agent's settings, what was said, and the tool that the person chose
/// for it.
pub(super) fn of_turn(config: &AgentConfig, turn: &Turn, input: Vec<InputItem>) -> ModelRequest {
    let message = turn.message.as_ref().and_then(|item| match &item.kind {
        ItemKind::UserMessage(message) => Some(message),
        _ => None,
    });
    ModelRequest {
        model: config.model.clone(),
        instructions: config.instructions.clone(),
        input,
        functions: functions(config),
        hosted_tools: config
            .hosted_tools
            .iter()
            .filter_map(|tool| tool.as_object().cloned())
            .collect(),
        reasoning: config.reasoning.as_ref().and_then(Value::as_object).cloned(),
        temperature: config.temperature,
        top_p: config.top_p,
        max_output_tokens: config.max_output_tokens.map(u64::from),
        // A person answers one call at a time.
        parallel_tool_calls: (!config.client_tools.is_empty()).then_some(false),
        tool_choice: message.and_then(|message| tool_choice(config, message)),
    }
}

fn functions(config: &AgentConfig) -> Vec<FunctionTool> {
    let parameters = |parameters: &Value| parameters.as_object().cloned().unwrap_or_else(Map::new);
    let tools = config.client_tools.iter().map(|tool| FunctionTool {
        name: tool.name.clone(),
        description: tool.description.clone(),
        parameters: parameters(&tool.parameters),
        strict: false,
    });
    tools.collect()
}

/// The tool that the composer named, if there is one of that name. The `model` that it may name is
/// not looked at: an agent has one model.
fn tool_choice(config: &AgentConfig, message: &UserMessage) -> Option<ToolChoice> {
    let chosen = &message.inference_options.tool_choice.as_ref()?.id;
    if config.client_tools.iter().any(|tool| tool.name == *chosen) {
        return Some(ToolChoice::Function(chosen.clone()));
    }
    // Of servers of tools (`mcp`) there may be several: their type does not name one.
    let is_chosen = |tool: &Value| chosen != "mcp" && tool["type"] == **chosen;
    config.hosted_tools.iter().any(is_chosen).then(|| ToolChoice::Hosted(chosen.clone()))
}
