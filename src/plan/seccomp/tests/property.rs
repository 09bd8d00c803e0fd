//! Random profiles, compiled and evaluated. CORACLE_SECCOMP_CASES sets the number of calls compared.

use super::super::Filter;
use super::super::syscalls::FAMILIES;
use super::evaluate::Profile;
use super::interpreter::{check, run};
use super::random::Random;

const CALLS_PER_PROFILE: u64 = 100;

#[test]
fn compile_random_profile_decides_as_the_profile_does() {
    let cases = std::env::var("CORACLE_SECCOMP_CASES").map_or(100_000, |text| text.parse().unwrap());
    let mut outcomes = std::collections::BTreeMap::new();
    for seed in 0..cases / CALLS_PER_PROFILE {
        let mut random = Random(seed);
        // The machines at hand get most of the attention.
        let family = if random.one_in(2) { FAMILIES[0] } else { *random.pick(&FAMILIES) };
        let config = random.profile(family);
        let (filter, _) = Filter::for_family(family, &config, "/linux/seccomp", None).unwrap();
        let program = filter.unwrap().program;
        let profile = Profile::new(&config, family);
        check(&program).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{config:#?}"));
        for _ in 0..CALLS_PER_PROFILE {
            let call = random.call(family, &config);
            let (found, _) = run(&program, &call);
            let wanted = profile.decide(&call);
            assert_eq!(found, wanted, "seed {seed}: {found:#x}, not {wanted:#x}, for {call:#x?} under {config:#?}");
            *outcomes.entry(found >> 16).or_insert(0) += 1;
        }
    }
    // Every action but NOTIFY was seen: the cases are not all alike.
    assert!(outcomes.len() >= 7, "{outcomes:?}");
}
