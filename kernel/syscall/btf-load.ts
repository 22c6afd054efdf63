/**
 * @module kernel/syscall/btf-load
 * `BPF_BTF_LOAD` around the btf room's judgement: attributes, user memory, log, id and descriptor. Reproduces `bpf_btf_load`,
 * `btf_new_fd` and the frame of `btf_parse` (kernel/bpf/syscall.c, btf.c).
 */
import { BTF_MAX_SIZE, checkBTF } from '../../btf/check.ts';
import { BTF_LOAD_ATTR as A } from '../../isa/attr.ts';
import { E2BIG, EFAULT, EINVAL, EPERM } from '../../isa/errno.ts';
import { BPF_BTF_LOAD, BPF_F_TOKEN_FD } from '../../isa/uapi.ts';
import { VerifierLog } from '../../verifier/log.ts';
import { CAP_BPF } from '../api.ts';
import type { Call } from './call.ts';
import { specOf } from './elements.ts';
import { finishLog, logTarget } from './log.ts';
import { tokenByFD } from './map-create.ts';

export function loadBTF(call: Call): number {
  const { kernel } = call;
  const target = logTarget(call, { level: A.btf_log_level, size: A.btf_log_size, buffer: A.btf_log_buf, trueSize: A.btf_log_true_size });
  if (typeof target === 'number') return target;
  if (!call.hasCleanTail(specOf(BPF_BTF_LOAD))) return -EINVAL;
  const flags = call.u32(A.btf_flags);
  if ((flags & ~BPF_F_TOKEN_FD) !== 0) return -EINVAL;
  if ((flags & BPF_F_TOKEN_FD) !== 0) {
    const token = tokenByFD(kernel, call.fd(A.btf_token_fd));
    if (token < 0) return token;
  }
  if (!kernel.capable(CAP_BPF)) return -EPERM;
  const size = call.u32(A.btf_size);
  if (size > BTF_MAX_SIZE) return -E2BIG;
  const log = new VerifierLog(target.level, target.size, target.buffer !== undefined);
  const bytes = kernel.memory.copyFrom(call.callerPointer(A.btf), size);
  if (bytes === undefined) {
    const error = finishLog(call, target, log);
    return error !== 0 ? error : -EFAULT;
  }
  const verdict = checkBTF(bytes, { log: target.level === 0 ? undefined : log, kernelBTF: () => kernel.kernelBTF() });
  const error = finishLog(call, target, log);
  if (error !== 0) return error;
  if (verdict.btf === undefined) return -verdict.errno;
  const object = kernel.createBTF(verdict.btf);
  const id = kernel.btfs.allocate(object);
  if (id < 0) return id;
  object.id = id;
  return kernel.newBTFFD(object);
}
