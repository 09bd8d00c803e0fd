//! What a fuzzer throws at the compiler (contrib/fuzz).

use super::super::Filter;
use super::super::syscalls::FAMILIES;
use super::evaluate::Profile;
use super::interpreter::{check, run};
use super::random::Random;
use crate::bundle::seccomp::SeccompConfig;

const CALLS: usize = 50;

/// Compiles `bytes` for each family of architectures. What compiles must be a program that the kernel takes, and decide about
/// calls as the profile does.
pub(crate) fn profile(bytes: &[u8]) {
    let Ok(config) = serde_json::from_slice::<SeccompConfig>(bytes) else { return };
    let seed = bytes.iter().fold(0, |seed: u64, byte| seed.rotate_left(7) ^ u64::from(*byte));
    let mut random = Random(seed);
    for family in FAMILIES {
        let Ok((Some(filter), _)) = Filter::for_family(family, &config, "/linux/seccomp", Some("/run/agent")) else {
            continue;
        };
        check(&filter.program).unwrap();
        let profile = Profile::new(&config, family);
        for _ in 0..CALLS {
            let call = random.call(family, &config);
            assert_eq!(run(&filter.program, &call).0, profile.decide(&call), "{call:#x?}");
        }
    }
}
