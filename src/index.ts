/**
 * @module src/index
 * The package as a library: everything that runs in a browser. What needs Node (files, certificates from disk, the kernel's
 * BTF that comes with the package, native cryptography) is in `bpftwin/node`.
 *
 * @example
 * import { parseLightSkeleton, runSkeleton } from 'bpftwin';
 * const report = runSkeleton(parseLightSkeleton(bytes, 'minimal.lskel.h'));
 */
export { InputError, InternalError } from '../isa/errors.ts';
export { errnoName } from '../isa/errno.ts';
export { latin1Bytes } from '../isa/latin1.ts';
export { Kernel } from '../kernel/kernel.ts';
export type {
  FaultInjector, FileView, KernelObjects, KernelOptions, LSMHookName, LSMHooks, MapSnapshot, MapView, ProgramSnapshot, ProgramView, SystemCall,
  SystemCallObserver,
} from '../kernel/api.ts';
export { minCoreBTF, type CoreObject } from '../loader/gen/min-core-btf.ts';
export { parseLightSkeleton } from '../loader/lskel.ts';
export { detectContract, type Contract, type ContractEvidence } from '../loader/contract.ts';
export { decodeMetadata, type Metadata } from '../loader/metadata.ts';
export {
  attachProgram, destroySkeleton, isLoaded, KEY_SPEC_SESSION_KEYRING, loadAndRun, type LoadedMap, type LoadedProgram, type LoadedSkeleton,
  type LoadFailure, type LoadOptions,
} from '../loader/load-and-run.ts';
export {
  MapHandle, ProgramHandle, SkeletonError, TypedMap, type MapSettings, type TestRunInput, type TestRunResult, type UpdateFlags,
} from '../loader/live/handles.ts';
export { layouts, LocalMemory, type ArrayView, type Layout, type Layouts, type MemberLayout, type Memory, type TextView } from '../loader/live/layout.ts';
export { LinkHandle, type AttachContext, type StructOpsValue } from '../loader/live/links.ts';
export type { AttachKind } from '../loader/object/attach-spec.ts';
export { LiveLightSkeleton, type LightBlueprint, type LightLoadOptions } from '../loader/live/light.ts';
export { decodeBytes, LiveSkeleton, type AttachReport, type Blueprint, type SkeletonShape } from '../loader/live/skeleton.ts';
export { LiveObjectSkeleton, type ObjectBlueprint, type ObjectLoadOptions } from '../loader/live/whole.ts';
export type { Machine, Port } from '../loader/port.ts';
export type { LightSkeleton, SkeletonAttach, SkeletonData, SkeletonMap, SkeletonProgram, SkeletonSignature } from '../loader/skeleton.ts';
export { dumpBTF, type BTFInput, type DumpBTFOptions } from './btf.ts';
export { readCertificates } from './certificates.ts';
export { compareWithObject, generateLightModule, generateLightSkeleton, generateModule, generateSkeleton, generateSubskeleton, type GenerateOptions, type ObjectComparison } from './gen.ts';
export { inspectSkeleton, type Inspection, type InspectOptions } from './inspect.ts';
export type { Policy, ReportedPolicy } from './policy.ts';
export { runSkeleton, type KeyringName, type RunOptions, type RunReport } from './run.ts';
export { verifyObject, type VerifiedRow, type VerifyOptions } from './verify.ts';
