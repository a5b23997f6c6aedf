pub mod app;
pub mod cli;
pub mod net;
pub mod progress;
pub mod protocol;
pub mod views;
