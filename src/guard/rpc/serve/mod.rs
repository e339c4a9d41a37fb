//! Serves HTTP and WebSocket connections, and sends authorized calls to the client.

pub mod answers;
pub mod client_call;
pub mod connection;
pub mod connection_slots;
pub mod http;
pub mod idle_http;
pub mod listen;
pub mod response_body;
pub mod server_state;
pub mod upstream;
pub mod ws;
