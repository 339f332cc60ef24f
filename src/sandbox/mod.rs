//! A local stand-in for the parts of OpenAI's API that this service calls.
