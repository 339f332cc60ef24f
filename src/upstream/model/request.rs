//! What is asked of a model, and where? The request in words of our own; each adapter writes it as
//! its API wants it.

use axum::http::HeaderValue;
use serde_json::{Map, Value};
use url::Url;

use crate::config::env::Secret;

/// A server of models, and how it is spoken to.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "it holds the API key")]
pub struct ModelEndpoint {
    /// The address up to and with `/v1`; `/responses` and the like are added to its path, and its
    /// query stays.
    pub base_url: Url,
    /// Sent as `Authorization: Bearer …`; local servers often want none.
    pub api_key: Option<Secret>,
    /// Which of the two APIs the server speaks.
    pub api: ModelApi,
    /// Sent as `OpenAI-Organization`.
    pub organization: Option<HeaderValue>,
    /// Sent as `OpenAI-Project`.
    pub project: Option<HeaderValue>,
}

/// The two ways to ask a model for a streamed answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelApi {
    /// `POST {base}/responses`: OpenAI's own.
    Responses,
    /// `POST {base}/chat/completions`: what most other servers speak.
    ChatCompletions,
}

/// One question to a model: everything that it knows, since nothing is kept at the server.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ModelRequest {
    /// The model's name at that server.
    pub model: String,
    /// What the model is told before anything else.
    pub instructions: Option<String>,
    /// The conversation, oldest first. Each output must come after its call.
    pub input: Vec<InputItem>,
    /// Functions that the model may call; a call ends its answer.
    pub functions: Vec<FunctionTool>,
    /// Tools that run at OpenAI (`web_search`, `file_search`, `mcp` …), each as the Responses API
    /// takes it.
    pub hosted_tools: Vec<Map<String, Value>>,
    /// The `reasoning` object of the Responses API; of it chat completions know `effort` alone.
    pub reasoning: Option<Map<String, Value>>,
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// 0 to 1.
    pub top_p: Option<f64>,
    /// In tokens, reasoning included; OpenAI takes 16 and more.
    pub max_output_tokens: Option<u64>,
    /// Whether one answer may hold several calls.
    pub parallel_tool_calls: Option<bool>,
    /// Whether and which tool must be used; the model chooses when unset.
    pub tool_choice: Option<ToolChoice>,
}

/// Which tool the model uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToolChoice {
    /// As the model likes.
    Auto,
    /// No tool.
    None,
    /// Any tool, but one.
    Required,
    /// The function of this name.
    Function(String),
    /// The hosted tool of this type, like `file_search`; Responses alone.
    Hosted(String),
}

/// A function that the model may call.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionTool {
    /// 1 to 64 letters, digits, `_` and `-`.
    pub name: String,
    /// When and how to use it, for the model.
    pub description: Option<String>,
    /// A JSON schema of the arguments.
    pub parameters: Map<String, Value>,
    /// Whether the model is held to the schema, which must then be of the strict subset that OpenAI
    /// describes.
    pub strict: bool,
}

/// One element of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputItem {
    /// Words, images and files of one side.
    Message {
        /// Whose.
        role: Role,
        /// In order. Of an assistant only text can be said again; its other parts are left out.
        parts: Vec<InputPart>,
    },
    /// A call that the model made.
    FunctionCall {
        /// The id that the output refers to.
        call_id: String,
        /// The function's name.
        name: String,
        /// The arguments as JSON text.
        arguments: String,
    },
    /// What a call returned.
    FunctionCallOutput {
        /// The id of the call, which must come earlier.
        call_id: String,
        /// Any text; JSON by custom.
        output: String,
    },
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The person.
    User,
    /// The model.
    Assistant,
    /// The site: above the person, below the instructions.
    Developer,
}

/// A piece of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InputPart {
    /// Words.
    Text(String),
    /// An image.
    Image {
        /// A `data:` address: what most servers take, and the only way for files that are not
        /// public.
        url: String,
        /// How closely the model looks.
        detail: ImageDetail,
    },
    /// A document, as a rule a PDF.
    File {
        /// Its name with its extension.
        filename: String,
        /// A `data:` address.
        data_url: String,
    },
}

/// How closely a model looks at an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImageDetail {
    /// As the model likes.
    #[default]
    Auto,
    /// At a small copy.
    Low,
    /// At tiles of the whole.
    High,
}

impl ImageDetail {
    pub(in crate::upstream) fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Low => "low",
            Self::High => "high",
        }
    }
}
