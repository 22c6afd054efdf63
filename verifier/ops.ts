/**
 * @module verifier/ops
 * What the checks ask about the program's type, in one place (`env->ops` of the kernel). The tables are in `progtypes/`.
 */
export {
  attachReturnType, contextArguments, convertCtxAccess, convertsCtxAccess, funcRetvalRange, genLdAbs, genPrologue, getHelperProto, isValidAccess, mayAccessSkb, programReturnRange,
  sockIsValidAccess, structOpsReturnType, type ValueRange,
} from './progtypes/index.ts';
