//! How is a model asked through chat completions (`POST {base}/chat/completions`), which Ollama,
//! vLLM, llama.cpp and others speak, and what do the chunks of its stream mean?

mod body;
mod calls;
mod chunks;

pub(super) use body::body;
pub(super) use chunks::ChunkReader;
