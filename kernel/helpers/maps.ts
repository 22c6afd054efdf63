/**
 * @module kernel/helpers/maps
 * Helpers on maps: lookup, update, delete, push, pop, peek, iteration, ring buffers. Reproduces kernel/bpf/helpers.c and
 * ringbuf.c.
 */
import { EAGAIN, EBUSY, EINVAL, ENODATA, ENOMEM } from '../../isa/errno.ts';
import * as U from '../../isa/uapi.ts';
import { KERNEL_HI } from '../../vm/address-space.ts';
import type { HelperCall } from '../../vm/types.ts';
import type { BPFMap } from '../maps/map.ts';
import { RingBufferMap } from '../maps/ringbuf.ts';
import type { KernelState } from '../state.ts';
import { high, low, pointer, setNumber } from './arguments.ts';
import { DYNPTR_TYPE_LOCAL, DYNPTR_TYPE_RINGBUF, setDynptr, setDynptrNull } from './dynptr.ts';
import type { HelperEntry } from './table.ts';

const MAX_DYNPTR = 0xffffff;
const MAX_USER_SAMPLES = 128 * 1024;

/** The map that argument 1 points to; a fault where it is none. */
export function mapArgument(kernel: KernelState, call: HelperCall, n = 1): BPFMap {
  const map = kernel.mapAt(pointer(call, n));
  return map ?? call.fault('helper', call.u32(n));
}

function ringArgument(kernel: KernelState, call: HelperCall): RingBufferMap {
  const map = mapArgument(kernel, call);
  return map instanceof RingBufferMap ? map : call.fault('helper', call.u32(1));
}

export function mapHelpers(kernel: KernelState): HelperEntry[] {
  return [
    [U.BPF_FUNC_map_lookup_elem, (call) => {
      const value = mapArgument(kernel, call).lookup(pointer(call, 2));
      // ERR_PTR values of kinds without lookup are not reachable for verified programs; null is what a program can test.
      call.setPointer(Math.max(value, 0));
    }],
    [U.BPF_FUNC_map_update_elem, (call) => {
      const map = mapArgument(kernel, call);
      call.setResult(map.update(pointer(call, 2), pointer(call, 3), { lo: low(call, 4), hi: high(call, 4) }));
    }],
    [U.BPF_FUNC_map_delete_elem, (call) => call.setResult(mapArgument(kernel, call).remove(pointer(call, 2)))],
    [U.BPF_FUNC_map_push_elem, (call) => {
      call.setResult(mapArgument(kernel, call).push(pointer(call, 2), { lo: low(call, 3), hi: high(call, 3) }));
    }],
    [U.BPF_FUNC_map_pop_elem, (call) => call.setResult(mapArgument(kernel, call).pop(pointer(call, 2)))],
    [U.BPF_FUNC_map_peek_elem, (call) => call.setResult(mapArgument(kernel, call).peek(pointer(call, 2)))],
    [U.BPF_FUNC_map_lookup_percpu_elem, (call) => {
      call.setPointer(Math.max(mapArgument(kernel, call).lookupPerCPU(pointer(call, 2), call.u32(3)), 0));
    }],
    [U.BPF_FUNC_for_each_map_elem, (call) => forEachElement(kernel, call)],
    [U.BPF_FUNC_ringbuf_output, (call) => {
      const ring = ringArgument(kernel, call);
      const bad = (low(call, 4) & ~(U.BPF_RB_NO_WAKEUP | U.BPF_RB_FORCE_WAKEUP)) !== 0 || high(call, 4) !== 0;
      call.setResult(bad ? -EINVAL : high(call, 3) !== 0 ? -EAGAIN : ring.output(pointer(call, 2), call.u32(3)));
    }],
    [U.BPF_FUNC_ringbuf_reserve, (call) => {
      const ring = ringArgument(kernel, call);
      const isBad = low(call, 3) !== 0 || high(call, 3) !== 0 || high(call, 2) !== 0;
      call.setPointer(isBad ? 0 : ring.reserve(call.u32(2)));
    }],
    [U.BPF_FUNC_ringbuf_submit, (call) => {
      RingBufferMap.commit(kernel, pointer(call, 1), false);
      call.setResult(0);
    }],
    [U.BPF_FUNC_ringbuf_discard, (call) => {
      RingBufferMap.commit(kernel, pointer(call, 1), true);
      call.setResult(0);
    }],
    [U.BPF_FUNC_ringbuf_query, (call) => setNumber(call, high(call, 2) !== 0 ? 0 : ringArgument(kernel, call).query(call.u32(2)))],
    [U.BPF_FUNC_ringbuf_reserve_dynptr, (call) => reserveDynptr(kernel, call)],
    [U.BPF_FUNC_ringbuf_submit_dynptr, (call) => commitDynptr(kernel, call, false)],
    [U.BPF_FUNC_ringbuf_discard_dynptr, (call) => commitDynptr(kernel, call, true)],
    [U.BPF_FUNC_user_ringbuf_drain, (call) => drain(kernel, call)],
  ];
}

function setPair(words: Int32Array, n: number, offset: number): void {
  words[2 * n - 2] = offset;
  words[2 * n - 1] = offset === 0 ? 0 : KERNEL_HI;
}

/** `bpf_for_each_map_elem`: callback(map, key, value, ctx). */
function forEachElement(kernel: KernelState, call: HelperCall): void {
  const map = mapArgument(kernel, call);
  if (low(call, 4) !== 0 || high(call, 4) !== 0) {
    call.setResult(-EINVAL);
    return;
  }
  const callback = call.u32(2);
  const contextLo = low(call, 3);
  const contextHi = high(call, 3);
  const words = call.callbackArguments;
  const calls = map.forEach((key, value) => {
    setPair(words, 1, map.address);
    setPair(words, 2, key);
    setPair(words, 3, value);
    words[6] = contextLo;
    words[7] = contextHi;
    words[8] = words[9] = 0;
    call.callback(callback);
    return call.callbackResult[0] === 0 && call.callbackResult[1] === 0;
  });
  call.setResult(calls);
}

function reserveDynptr(kernel: KernelState, call: HelperCall): void {
  const ring = ringArgument(kernel, call);
  const size = call.u32(2);
  const at = pointer(call, 4);
  const refuse = (errno: number): void => {
    setDynptrNull(kernel, at);
    call.setResult(-errno);
  };
  if (low(call, 3) !== 0 || high(call, 3) !== 0) return refuse(EINVAL);
  if (size > MAX_DYNPTR) return refuse(7);
  const record = ring.reserve(size);
  if (record === 0) return refuse(EINVAL);
  setDynptr(kernel, at, record, DYNPTR_TYPE_RINGBUF, size);
  call.setResult(0);
}

function commitDynptr(kernel: KernelState, call: HelperCall, isDiscarded: boolean): void {
  const at = pointer(call, 1);
  const data = kernel.memory.view.getUint32(at, true);
  if (data !== 0) {
    RingBufferMap.commit(kernel, data, isDiscarded);
    setDynptrNull(kernel, at);
  }
  call.setResult(0);
}

/** `bpf_user_ringbuf_drain` */
function drain(kernel: KernelState, call: HelperCall): void {
  const ring = ringArgument(kernel, call);
  if ((low(call, 4) & ~(U.BPF_RB_NO_WAKEUP | U.BPF_RB_FORCE_WAKEUP)) !== 0 || high(call, 4) !== 0) {
    call.setResult(-EINVAL);
    return;
  }
  if (ring.isBusy) {
    call.setResult(-EBUSY);
    return;
  }
  const callback = call.u32(2);
  const contextLo = low(call, 3);
  const contextHi = high(call, 3);
  const dynptr = kernel.memory.tryAlloc(16, 'sample dynptr');
  if (dynptr === 0) {
    call.setResult(-ENOMEM);
    return;
  }
  ring.isBusy = true;
  try {
    let samples = 0;
    for (let i = 0; i < MAX_USER_SAMPLES; i++) {
      const sample = ring.peekSample();
      if (typeof sample === 'number') {
        if (sample === -ENODATA) break;
        if (sample === -EAGAIN) continue;
        call.setResult(sample);
        return;
      }
      setDynptr(kernel, dynptr, sample[0], DYNPTR_TYPE_LOCAL, sample[1]);
      setPair(call.callbackArguments, 1, dynptr);
      call.callbackArguments[2] = contextLo;
      call.callbackArguments[3] = contextHi;
      call.callbackArguments.fill(0, 4);
      call.callback(callback);
      ring.releaseSample(sample[1]);
      samples++;
      if (call.callbackResult[0] !== 0 || call.callbackResult[1] !== 0) break;
    }
    call.setResult(samples);
  } finally {
    ring.isBusy = false;
    kernel.memory.free(dynptr);
  }
}
