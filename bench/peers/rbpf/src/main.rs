//! rbpf as a peer of bench:vm. usage: bpftwin-peer-rbpf jit|interpreter BYTECODE MEMORY ITERATIONS [CALLS]
//! SPDX-License-Identifier: Apache-2.0
use std::{env, error::Error, fs};

const REPETITIONS: usize = 3;

fn mix(a: u64, b: u64, c: u64, d: u64, e: u64) -> u64 {
    (a ^ (b << 1)).wrapping_add(c).wrapping_add(d).wrapping_add(e)
}

/// CPU time of the process in nanoseconds.
fn nanoseconds() -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a live structure.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut now) };
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().collect();
    let [_, mode, code, memory, count, rest @ ..] = arguments.as_slice() else {
        return Err("usage: bpftwin-peer-rbpf jit|interpreter BYTECODE MEMORY ITERATIONS [CALLS]".into());
    };
    let calls: u64 = rest.first().map_or(Ok(1), |text| text.parse())?;
    let code = fs::read(code)?;
    let initial = fs::read(memory)?;
    let count: Option<u64> = if count == "-" { None } else { Some(count.parse()?) };
    let mut vm = rbpf::EbpfVmRaw::new(Some(&code))?;
    vm.register_helper(1, mix)?;
    let compiled = mode == "jit";
    if compiled {
        vm.jit_compile()?;
    }
    let mut memory = initial.clone();
    let address = memory.as_mut_ptr();
    let mut best = f64::INFINITY;
    let mut result = 0;
    for _ in 0..REPETITIONS {
        // SAFETY: the buffer outlives the machine, and nobody else looks at it while a program runs.
        let memory = unsafe { std::slice::from_raw_parts_mut(address, initial.len()) };
        memory.copy_from_slice(&initial);
        if let Some(count) = count {
            memory[..8].copy_from_slice(&count.to_le_bytes());
        }
        let started = nanoseconds();
        for _ in 0..calls {
            // SAFETY: as above; and the benchmark programs stay inside the memory that they are given.
            let memory = unsafe { std::slice::from_raw_parts_mut(address, initial.len()) };
            result = if compiled { unsafe { vm.execute_program_jit(memory)? } } else { vm.execute_program(memory)? };
        }
        best = best.min((nanoseconds() - started) / calls as f64);
    }
    println!("{result:#x} {best:.1}");
    Ok(())
}
