//! `mpo-train devices`: the backends built in, the devices they find, and which one `auto` takes.

use clap::Args;
use mpo_trainer::{Choice, DeviceChoice};
use serde::Serialize;

use crate::device;
use crate::failure::Failure;
use crate::output;
use crate::table;

const EXAMPLES: &str = "\
Examples:
  mpo-train devices
  mpo-train devices --json";

/// List the backends built in and the devices they find
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DevicesArguments {
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Devices {
    auto: Option<&'static str>,
    backends: Vec<Backend>,
}

#[derive(Debug, Serialize)]
struct Backend {
    device: &'static str,
    built_in: bool,
    found: Vec<String>,
}

pub(crate) fn run(arguments: &DevicesArguments) -> Result<(), Failure> {
    let auto = device::auto(0).map(|(choice, _)| choice.name());
    let backends = DeviceChoice::ALL
        .iter()
        .map(|&(choice, ..)| choice)
        .filter(|&choice| choice != DeviceChoice::Auto)
        .map(|choice| Backend {
            device: choice.name(),
            built_in: device::is_built_in(choice),
            found: device::find(choice)
                .iter()
                .map(|device| device::identity(device).unwrap_or_else(|| "CPU".into()))
                .collect(),
        })
        .collect();
    let devices = Devices { auto, backends };
    if arguments.json { output::json(&devices) } else { output::line(devices.table()) }
}

impl Devices {
    fn table(&self) -> String {
        let rows = self.backends.iter().map(|backend| {
            let chosen = self.auto == Some(backend.device);
            let found = if !backend.built_in {
                "not built in".to_owned()
            } else if backend.found.is_empty() {
                "none found".to_owned()
            } else {
                backend.found.join(", ")
            };
            [backend.device.to_owned(), if chosen { "auto" } else { "" }.to_owned(), found]
        });
        table::render(["device", "", "found"], rows, 3)
    }
}
