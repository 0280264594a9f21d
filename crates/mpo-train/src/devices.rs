//! `mpo-train devices`: the backends built in, the devices they find, and which one `auto` takes.

use clap::ValueEnum;
use mpo_trainer::DeviceChoice;
use serde::Serialize;

use crate::cli::DevicesArguments;
use crate::device;
use crate::failure::Failure;
use crate::output;
use crate::table;

#[derive(Debug, Serialize)]
struct Devices {
    auto: Option<String>,
    backends: Vec<Backend>,
}

#[derive(Debug, Serialize)]
struct Backend {
    device: String,
    built_in: bool,
    found: Vec<String>,
}

pub(crate) fn run(arguments: &DevicesArguments) -> Result<(), Failure> {
    let auto = device::auto().map(|(choice, _)| device::name(choice));
    let backends = DeviceChoice::value_variants()
        .iter()
        .filter(|choice| **choice != DeviceChoice::Auto)
        .map(|&choice| Backend {
            device: device::name(choice),
            built_in: device::is_built_in(choice),
            found: device::find(choice)
                .iter()
                .map(|device| device::identity(device).unwrap_or_else(|| "CPU".into()))
                .collect(),
        })
        .collect();
    let devices = Devices { auto, backends };
    match arguments.json {
        true => output::json(&devices),
        false => output::line(devices.table()),
    }
}

impl Devices {
    fn table(&self) -> String {
        let rows = self.backends.iter().map(|backend| {
            let chosen = self.auto.as_ref() == Some(&backend.device);
            let found = match backend.built_in {
                false => "not built in".to_owned(),
                true if backend.found.is_empty() => "none found".to_owned(),
                true => backend.found.join(", "),
            };
            [backend.device.clone(), if chosen { "auto" } else { "" }.to_owned(), found]
        });
        table::render(["device", "", "found"], rows, 3)
    }
}
