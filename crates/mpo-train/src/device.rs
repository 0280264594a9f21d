//! From a choice of device to the device: which backends are built in, what they find, what `auto` takes.

use std::env;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use burn::tensor::{Device, DeviceType};
use mpo_trainer::{Choice, DeviceChoice};

use crate::failure::Failure;

/// What `auto` tries, best first; if there may be a GPU at all.
const GPUS: [DeviceChoice; 4] = [DeviceChoice::Cuda, DeviceChoice::Vulkan, DeviceChoice::Metal, DeviceChoice::Wgpu];

/// Whether this build can compute there.
pub(crate) fn is_built_in(choice: DeviceChoice) -> bool {
    device_type(choice).is_some()
}

/// The device of a choice, and the choice that `auto` came to: the best one, or of several cards the one so many after it.
pub(crate) fn select(choice: DeviceChoice, card: usize) -> Result<(DeviceChoice, Device), Failure> {
    if choice == DeviceChoice::Auto {
        return auto(card).ok_or_else(|| {
            Failure::new(
                "expected a device to compute on, got none",
                "build with --features flex to compute on the CPU",
            )
        });
    }
    let name = choice.name();
    if !is_built_in(choice) {
        let feature = match choice {
            DeviceChoice::WgpuCpu => "wgpu",
            _ => name,
        };
        return Err(Failure::new(
            format!("device {name}: expected a backend of this build, got one it was built without"),
            format!("build with --features {feature}; `mpo-train devices` lists what this build has"),
        ));
    }
    let found = find(choice);
    let got = if found.is_empty() { "none".to_owned() } else { found.len().to_string() };
    on_card(choice, found, card).map(|device| (choice, device)).ok_or_else(|| {
        let expected = if card == 0 { "one".to_owned() } else { format!("{} for as many ranks", card + 1) };
        Failure::new(
            format!("device {name}: expected at least {expected}, got {got}"),
            "check the driver, or compute elsewhere; `mpo-train devices` lists what there is",
        )
    })
}

/// What launchers set to show each process the cards that are its own: Slurm, with `--gpus-per-task`, shows each but one.
const OWN_CARDS: [&str; 2] = ["CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES"];

/// One of the devices of a choice; ranks share a CPU, which is one.
fn on_card(choice: DeviceChoice, found: Vec<Device>, card: usize) -> Option<Device> {
    let is_shared = matches!(choice, DeviceChoice::Flex | DeviceChoice::Cpu | DeviceChoice::WgpuCpu);
    let is_own = || found.len() == 1 && OWN_CARDS.iter().any(|name| env::var_os(name).is_some());
    let nth = if is_shared || is_own() { 0 } else { card };
    found.into_iter().nth(nth)
}

/// What `auto` takes: CUDA, else a GPU through a graphics API, else the CPU.
pub(crate) fn auto(card: usize) -> Option<(DeviceChoice, Device)> {
    let gpus = GPUS.into_iter().filter(|_| may_have_gpu());
    gpus.chain([DeviceChoice::Flex]).find_map(|choice| Some((choice, on_card(choice, find(choice), card)?)))
}

/// The devices that a choice can mean, best first; none if there is none or its driver fails.
pub(crate) fn find(choice: DeviceChoice) -> Vec<Device> {
    let Some(device_type) = device_type(choice) else {
        return vec![];
    };
    let found = quietly(|| Device::enumerate(device_type).into_vec());
    let mut found = found.unwrap_or_default();
    let software = choice == DeviceChoice::WgpuCpu;
    found.retain(|device| (rank(device) == SOFTWARE) == software);
    found.sort_by_key(rank);
    found
}

/// What a device calls itself, if it says so.
#[cfg(feature = "cube")]
pub(crate) fn identity(device: &Device) -> Option<String> {
    let identity = quietly(|| device.identity()).flatten();
    identity.map(|identity| identity.name)
}

#[cfg(not(feature = "cube"))]
pub(crate) fn identity(_device: &Device) -> Option<String> {
    None
}

/// Which of its machine's cards a device is on, if it is on one. A part of a card, which NVIDIA's MIG makes, is a card.
#[cfg(feature = "cube")]
pub(crate) fn card(device: &Device) -> Option<String> {
    let address = quietly(|| device.identity()).flatten()?.physical?.pci_address?;
    let part = env::var(OWN_CARDS[0]).ok().filter(|shown| shown.starts_with("MIG-"));
    Some(part.map_or_else(|| address.to_string(), |part| format!("{address}, {part}")))
}

#[cfg(not(feature = "cube"))]
pub(crate) fn card(_device: &Device) -> Option<String> {
    None
}

/// Which of the CUDA devices that this process sees it is, if it is one.
#[cfg(feature = "nccl")]
pub(crate) fn cuda_index(device: &Device) -> Option<usize> {
    use burn::backend::{CubeDevice, DispatchDevice};
    match device.as_dispatch() {
        DispatchDevice::Cube(CubeDevice::Cuda(device)) => Some(device.index),
        _ => None,
    }
}

fn device_type(choice: DeviceChoice) -> Option<DeviceType> {
    match choice {
        #[cfg(feature = "flex")]
        DeviceChoice::Flex => Some(DeviceType::Flex),
        #[cfg(feature = "wgpu")]
        DeviceChoice::Wgpu | DeviceChoice::WgpuCpu => Some(DeviceType::Wgpu),
        #[cfg(feature = "vulkan")]
        DeviceChoice::Vulkan => Some(DeviceType::Vulkan),
        #[cfg(feature = "metal")]
        DeviceChoice::Metal => Some(DeviceType::Metal),
        #[cfg(feature = "cuda")]
        DeviceChoice::Cuda => Some(DeviceType::Cuda),
        #[cfg(feature = "rocm")]
        DeviceChoice::Rocm => Some(DeviceType::Rocm),
        #[cfg(feature = "cpu")]
        DeviceChoice::Cpu => Some(DeviceType::Cpu),
        _ => None,
    }
}

/// The rank of a software GPU.
const SOFTWARE: u8 = 3;

/// How a device compares with others of its backend: less is better.
#[cfg(feature = "wgpu")]
fn rank(device: &Device) -> u8 {
    use burn::backend::{CubeDevice, DispatchDevice, WgpuDeviceKind};
    let DispatchDevice::Cube(CubeDevice::Wgpu(device)) = device.as_dispatch() else {
        return 0;
    };
    match device.kind {
        WgpuDeviceKind::DiscreteGpu(_) => 0,
        WgpuDeviceKind::IntegratedGpu(_) => 1,
        WgpuDeviceKind::Cpu => SOFTWARE,
        _ => 2,
    }
}

#[cfg(not(feature = "wgpu"))]
fn rank(_device: &Device) -> u8 {
    0
}

/// Whether the system shows a GPU. Where it shows none, loading graphics drivers to hear the same would cost time, and
/// some of them complain on stderr.
fn may_have_gpu() -> bool {
    let nodes = ["/dev/dri", "/dev/nvidiactl", "/dev/dxg"];
    !cfg!(target_os = "linux") || nodes.iter().any(|node| Path::new(node).exists())
}

/// The result of asking a driver, which may panic: then nothing, and nothing is printed.
pub(crate) fn quietly<T>(ask: impl FnOnce() -> T) -> Option<T> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let answer = panic::catch_unwind(AssertUnwindSafe(ask));
    panic::set_hook(hook);
    answer.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_that_is_not_built_in_says_how_to_build_it() {
        for &(choice, ..) in DeviceChoice::ALL {
            if choice == DeviceChoice::Auto || is_built_in(choice) {
                continue;
            }
            let failure = select(choice, 0).unwrap_err();
            assert!(failure.to_string().contains(choice.name()), "{failure}");
            let hint = failure.hint().unwrap();
            let feature = choice.name().replace("-cpu", "");
            assert!(hint.contains(&format!("--features {feature}")), "{hint}");
        }
    }

    #[cfg(feature = "flex")]
    #[test]
    fn there_is_always_the_cpu() {
        assert_eq!(select(DeviceChoice::Flex, 0).unwrap(), (DeviceChoice::Flex, Device::flex()));
        assert!(auto(0).is_some());
    }

    #[test]
    fn a_driver_that_panics_has_no_answer() {
        assert_eq!(quietly(|| 1), Some(1));
        assert_eq!(quietly(|| -> u8 { panic!("no driver") }), None);
    }
}
