/**
 * @module isa/uapi
 * The constants of Linux 7.3's user-space API for BPF, under the kernel's own names, in the order of
 * `include/uapi/linux/{bpf_common,bpf,btf}.h`. Owns numbers only; layouts are in `attr.ts`, instructions in `instructions.ts`.
 */

// Macros of bpf_common.h
export const BPF_LD = 0;
export const BPF_LDX = 1;
export const BPF_ST = 2;
export const BPF_STX = 3;
export const BPF_ALU = 4;
export const BPF_JMP = 5;
export const BPF_RET = 6;
export const BPF_MISC = 7;
export const BPF_W = 0;
export const BPF_H = 8;
export const BPF_B = 16;
export const BPF_IMM = 0;
export const BPF_ABS = 32;
export const BPF_IND = 64;
export const BPF_MEM = 96;
export const BPF_LEN = 128;
export const BPF_MSH = 160;
export const BPF_ADD = 0;
export const BPF_SUB = 16;
export const BPF_MUL = 32;
export const BPF_DIV = 48;
export const BPF_OR = 64;
export const BPF_AND = 80;
export const BPF_LSH = 96;
export const BPF_RSH = 112;
export const BPF_NEG = 128;
export const BPF_MOD = 144;
export const BPF_XOR = 160;
export const BPF_JA = 0;
export const BPF_JEQ = 16;
export const BPF_JGT = 32;
export const BPF_JGE = 48;
export const BPF_JSET = 64;
export const BPF_K = 0;
export const BPF_X = 8;
export const BPF_MAXINSNS = 4096;

// Macros of bpf.h
export const BPF_JMP32 = 6;
export const BPF_ALU64 = 7;
export const BPF_DW = 24;
export const BPF_MEMSX = 128;
export const BPF_ATOMIC = 192;
export const BPF_XADD = 192;
export const BPF_MOV = 176;
export const BPF_ARSH = 192;
export const BPF_END = 208;
export const BPF_TO_LE = 0;
export const BPF_TO_BE = 8;
export const BPF_FROM_LE = 0;
export const BPF_FROM_BE = 8;
export const BPF_JNE = 80;
export const BPF_JLT = 160;
export const BPF_JLE = 176;
export const BPF_JSGT = 96;
export const BPF_JSGE = 112;
export const BPF_JSLT = 192;
export const BPF_JSLE = 208;
export const BPF_JCOND = 224;
export const BPF_CALL = 128;
export const BPF_EXIT = 144;
export const BPF_FETCH = 1;
export const BPF_XCHG = 225;
export const BPF_CMPXCHG = 241;
export const BPF_LOAD_ACQ = 256;
export const BPF_STORE_REL = 272;
export const MAX_BPF_REG = 11;
export const MAX_BPF_ATTACH_TYPE = 62;
export const MAX_BPF_LINK_TYPE = 16;
export const BPF_F_LINK = 8192;
export const BPF_PSEUDO_MAP_FD = 1;
export const BPF_PSEUDO_MAP_IDX = 5;
export const BPF_PSEUDO_MAP_VALUE = 2;
export const BPF_PSEUDO_MAP_IDX_VALUE = 6;
export const BPF_PSEUDO_BTF_ID = 3;
export const BPF_PSEUDO_FUNC = 4;
export const BPF_PSEUDO_CALL = 1;
export const BPF_PSEUDO_KFUNC_CALL = 2;
export const BPF_BUILD_ID_SIZE = 20;
export const BPF_OBJ_NAME_LEN = 16;
export const XDP_PACKET_HEADROOM = 256;
export const BPF_TAG_SIZE = 8;

// enum bpf_cond_pseudo_jmp
export const BPF_MAY_GOTO = 0;

// Anonymous enumerations of bpf.h
export const BPF_REG_0 = 0;
export const BPF_REG_1 = 1;
export const BPF_REG_2 = 2;
export const BPF_REG_3 = 3;
export const BPF_REG_4 = 4;
export const BPF_REG_5 = 5;
export const BPF_REG_6 = 6;
export const BPF_REG_7 = 7;
export const BPF_REG_8 = 8;
export const BPF_REG_9 = 9;
export const BPF_REG_10 = 10;
export const __MAX_BPF_REG = 11;
export const BPF_F_KPROBE_MULTI_RETURN = 1;
export const BPF_F_UPROBE_MULTI_RETURN = 1;
export const BPF_F_UPROBE_MULTI_PATH_FD = 2;
export const BPF_ANY = 0;
export const BPF_NOEXIST = 1;
export const BPF_EXIST = 2;
export const BPF_F_LOCK = 4;
export const BPF_F_CPU = 8;
export const BPF_F_ALL_CPUS = 16;
export const BPF_F_NO_PREALLOC = 1;
export const BPF_F_NO_COMMON_LRU = 2;
export const BPF_F_NUMA_NODE = 4;
export const BPF_F_RDONLY = 8;
export const BPF_F_WRONLY = 16;
export const BPF_F_STACK_BUILD_ID = 32;
export const BPF_F_ZERO_SEED = 64;
export const BPF_F_RDONLY_PROG = 128;
export const BPF_F_WRONLY_PROG = 256;
export const BPF_F_CLONE = 512;
export const BPF_F_MMAPABLE = 1024;
export const BPF_F_PRESERVE_ELEMS = 2048;
export const BPF_F_INNER_MAP = 4096;
export const BPF_F_PATH_FD = 16384;
export const BPF_F_VTYPE_BTF_OBJ_FD = 32768;
export const BPF_F_TOKEN_FD = 65536;
export const BPF_F_SEGV_ON_FAULT = 131072;
export const BPF_F_NO_USER_CONV = 262144;
export const BPF_F_RB_OVERWRITE = 524288;
export const BPF_STREAM_STDOUT = 1;
export const BPF_STREAM_STDERR = 2;
export const BPF_F_RECOMPUTE_CSUM = 1;
export const BPF_F_INVALIDATE_HASH = 2;
export const BPF_F_HDR_FIELD_MASK = 15;
export const BPF_F_PSEUDO_HDR = 16;
export const BPF_F_MARK_MANGLED_0 = 32;
export const BPF_F_MARK_ENFORCE = 64;
export const BPF_F_IPV6 = 128;
export const BPF_F_TUNINFO_IPV6 = 1;
export const BPF_F_SKIP_FIELD_MASK = 255;
export const BPF_F_USER_STACK = 256;
export const BPF_F_FAST_STACK_CMP = 512;
export const BPF_F_REUSE_STACKID = 1024;
export const BPF_F_USER_BUILD_ID = 2048;
export const BPF_F_ZERO_CSUM_TX = 2;
export const BPF_F_DONT_FRAGMENT = 4;
export const BPF_F_SEQ_NUMBER = 8;
export const BPF_F_NO_TUNNEL_KEY = 16;
export const BPF_F_TUNINFO_FLAGS = 16;
export const BPF_F_INDEX_MASK = 4294967295;
export const BPF_F_CURRENT_CPU = 4294967295;
export const BPF_F_CTXLEN_MASK = 4503595332403200;
export const BPF_F_CURRENT_NETNS = -1;
export const BPF_CSUM_LEVEL_QUERY = 0;
export const BPF_CSUM_LEVEL_INC = 1;
export const BPF_CSUM_LEVEL_DEC = 2;
export const BPF_CSUM_LEVEL_RESET = 3;
export const BPF_ADJ_ROOM_ENCAP_L2_MASK = 255;
export const BPF_ADJ_ROOM_ENCAP_L2_SHIFT = 56;
export const BPF_F_SYSCTL_BASE_NAME = 1;
export const BPF_LOCAL_STORAGE_GET_F_CREATE = 1;
export const BPF_SK_STORAGE_GET_F_CREATE = 1;
export const BPF_F_GET_BRANCH_RECORDS_SIZE = 1;
export const BPF_RB_NO_WAKEUP = 1;
export const BPF_RB_FORCE_WAKEUP = 2;
export const BPF_RB_AVAIL_DATA = 0;
export const BPF_RB_RING_SIZE = 1;
export const BPF_RB_CONS_POS = 2;
export const BPF_RB_PROD_POS = 3;
export const BPF_RB_OVERWRITE_POS = 4;
export const BPF_RINGBUF_BUSY_BIT = 2147483648;
export const BPF_RINGBUF_DISCARD_BIT = 1073741824;
export const BPF_RINGBUF_HDR_SZ = 8;
export const BPF_SK_LOOKUP_F_REPLACE = 1;
export const BPF_SK_LOOKUP_F_NO_REUSEPORT = 2;
export const BPF_F_BPRM_SECUREEXEC = 1;
export const BPF_F_INGRESS = 1;
export const BPF_F_EGRESS = 2;
export const BPF_F_BROADCAST = 8;
export const BPF_F_EXCLUDE_INGRESS = 16;
export const BPF_SKB_TSTAMP_UNSPEC = 0;
export const BPF_SKB_TSTAMP_DELIVERY_MONO = 1;
export const BPF_SKB_CLOCK_REALTIME = 0;
export const BPF_SKB_CLOCK_MONOTONIC = 1;
export const BPF_SKB_CLOCK_TAI = 2;
export const BPF_SOCK_OPS_RTO_CB_FLAG = 1;
export const BPF_SOCK_OPS_RETRANS_CB_FLAG = 2;
export const BPF_SOCK_OPS_STATE_CB_FLAG = 4;
export const BPF_SOCK_OPS_RTT_CB_FLAG = 8;
export const BPF_SOCK_OPS_PARSE_ALL_HDR_OPT_CB_FLAG = 16;
export const BPF_SOCK_OPS_PARSE_UNKNOWN_HDR_OPT_CB_FLAG = 32;
export const BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG = 64;
export const BPF_SOCK_OPS_ALL_CB_FLAGS = 127;
export const SK_BPF_CB_TX_TIMESTAMPING = 1;
export const SK_BPF_CB_MASK = 1;
export const BPF_SOCK_OPS_VOID = 0;
export const BPF_SOCK_OPS_TIMEOUT_INIT = 1;
export const BPF_SOCK_OPS_RWND_INIT = 2;
export const BPF_SOCK_OPS_TCP_CONNECT_CB = 3;
export const BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB = 4;
export const BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB = 5;
export const BPF_SOCK_OPS_NEEDS_ECN = 6;
export const BPF_SOCK_OPS_BASE_RTT = 7;
export const BPF_SOCK_OPS_RTO_CB = 8;
export const BPF_SOCK_OPS_RETRANS_CB = 9;
export const BPF_SOCK_OPS_STATE_CB = 10;
export const BPF_SOCK_OPS_TCP_LISTEN_CB = 11;
export const BPF_SOCK_OPS_RTT_CB = 12;
export const BPF_SOCK_OPS_PARSE_HDR_OPT_CB = 13;
export const BPF_SOCK_OPS_HDR_OPT_LEN_CB = 14;
export const BPF_SOCK_OPS_WRITE_HDR_OPT_CB = 15;
export const BPF_SOCK_OPS_TSTAMP_SCHED_CB = 16;
export const BPF_SOCK_OPS_TSTAMP_SND_SW_CB = 17;
export const BPF_SOCK_OPS_TSTAMP_SND_HW_CB = 18;
export const BPF_SOCK_OPS_TSTAMP_ACK_CB = 19;
export const BPF_SOCK_OPS_TSTAMP_SENDMSG_CB = 20;
export const BPF_TCP_ESTABLISHED = 1;
export const BPF_TCP_SYN_SENT = 2;
export const BPF_TCP_SYN_RECV = 3;
export const BPF_TCP_FIN_WAIT1 = 4;
export const BPF_TCP_FIN_WAIT2 = 5;
export const BPF_TCP_TIME_WAIT = 6;
export const BPF_TCP_CLOSE = 7;
export const BPF_TCP_CLOSE_WAIT = 8;
export const BPF_TCP_LAST_ACK = 9;
export const BPF_TCP_LISTEN = 10;
export const BPF_TCP_CLOSING = 11;
export const BPF_TCP_NEW_SYN_RECV = 12;
export const BPF_TCP_BOUND_INACTIVE = 13;
export const BPF_TCP_MAX_STATES = 14;
export const TCP_BPF_IW = 1001;
export const TCP_BPF_SNDCWND_CLAMP = 1002;
export const TCP_BPF_DELACK_MAX = 1003;
export const TCP_BPF_RTO_MIN = 1004;
export const TCP_BPF_SYN = 1005;
export const TCP_BPF_SYN_IP = 1006;
export const TCP_BPF_SYN_MAC = 1007;
export const TCP_BPF_SOCK_OPS_CB_FLAGS = 1008;
export const SK_BPF_CB_FLAGS = 1009;
export const SK_BPF_BYPASS_PROT_MEM = 1010;
export const BPF_LOAD_HDR_OPT_TCP_SYN = 1;
export const BPF_WRITE_HDR_TCP_CURRENT_MSS = 1;
export const BPF_WRITE_HDR_TCP_SYNACK_COOKIE = 2;
export const BPF_DEVCG_ACC_MKNOD = 1;
export const BPF_DEVCG_ACC_READ = 2;
export const BPF_DEVCG_ACC_WRITE = 4;
export const BPF_DEVCG_DEV_BLOCK = 1;
export const BPF_DEVCG_DEV_CHAR = 2;
export const BPF_FIB_LOOKUP_DIRECT = 1;
export const BPF_FIB_LOOKUP_OUTPUT = 2;
export const BPF_FIB_LOOKUP_SKIP_NEIGH = 4;
export const BPF_FIB_LOOKUP_TBID = 8;
export const BPF_FIB_LOOKUP_SRC = 16;
export const BPF_FIB_LOOKUP_MARK = 32;
export const BPF_FIB_LOOKUP_VLAN = 64;
export const BPF_FIB_LOOKUP_VLAN_INPUT = 128;
export const BPF_FIB_LKUP_RET_SUCCESS = 0;
export const BPF_FIB_LKUP_RET_BLACKHOLE = 1;
export const BPF_FIB_LKUP_RET_UNREACHABLE = 2;
export const BPF_FIB_LKUP_RET_PROHIBIT = 3;
export const BPF_FIB_LKUP_RET_NOT_FWDED = 4;
export const BPF_FIB_LKUP_RET_FWD_DISABLED = 5;
export const BPF_FIB_LKUP_RET_UNSUPP_LWT = 6;
export const BPF_FIB_LKUP_RET_NO_NEIGH = 7;
export const BPF_FIB_LKUP_RET_FRAG_NEEDED = 8;
export const BPF_FIB_LKUP_RET_NO_SRC_ADDR = 9;
export const BPF_FIB_LKUP_RET_VLAN_FAILURE = 10;
export const BPF_FLOW_DISSECTOR_F_PARSE_1ST_FRAG = 1;
export const BPF_FLOW_DISSECTOR_F_STOP_AT_FLOW_LABEL = 2;
export const BPF_FLOW_DISSECTOR_F_STOP_AT_ENCAP = 4;
export const BTF_F_COMPACT = 1;
export const BTF_F_NONAME = 2;
export const BTF_F_PTR_RAW = 4;
export const BTF_F_ZERO = 8;
export const BPF_F_TIMER_ABS = 1;
export const BPF_F_TIMER_CPU_PIN = 2;

// enum bpf_cgroup_iter_order
export const BPF_CGROUP_ITER_ORDER_UNSPEC = 0;
export const BPF_CGROUP_ITER_SELF_ONLY = 1;
export const BPF_CGROUP_ITER_DESCENDANTS_PRE = 2;
export const BPF_CGROUP_ITER_DESCENDANTS_POST = 3;
export const BPF_CGROUP_ITER_ANCESTORS_UP = 4;
export const BPF_CGROUP_ITER_CHILDREN = 5;

// Commands of bpf(2)
export const BPF_MAP_CREATE = 0;
export const BPF_MAP_LOOKUP_ELEM = 1;
export const BPF_MAP_UPDATE_ELEM = 2;
export const BPF_MAP_DELETE_ELEM = 3;
export const BPF_MAP_GET_NEXT_KEY = 4;
export const BPF_PROG_LOAD = 5;
export const BPF_OBJ_PIN = 6;
export const BPF_OBJ_GET = 7;
export const BPF_PROG_ATTACH = 8;
export const BPF_PROG_DETACH = 9;
export const BPF_PROG_TEST_RUN = 10;
export const BPF_PROG_RUN = 10;
export const BPF_PROG_GET_NEXT_ID = 11;
export const BPF_MAP_GET_NEXT_ID = 12;
export const BPF_PROG_GET_FD_BY_ID = 13;
export const BPF_MAP_GET_FD_BY_ID = 14;
export const BPF_OBJ_GET_INFO_BY_FD = 15;
export const BPF_PROG_QUERY = 16;
export const BPF_RAW_TRACEPOINT_OPEN = 17;
export const BPF_BTF_LOAD = 18;
export const BPF_BTF_GET_FD_BY_ID = 19;
export const BPF_TASK_FD_QUERY = 20;
export const BPF_MAP_LOOKUP_AND_DELETE_ELEM = 21;
export const BPF_MAP_FREEZE = 22;
export const BPF_BTF_GET_NEXT_ID = 23;
export const BPF_MAP_LOOKUP_BATCH = 24;
export const BPF_MAP_LOOKUP_AND_DELETE_BATCH = 25;
export const BPF_MAP_UPDATE_BATCH = 26;
export const BPF_MAP_DELETE_BATCH = 27;
export const BPF_LINK_CREATE = 28;
export const BPF_LINK_UPDATE = 29;
export const BPF_LINK_GET_FD_BY_ID = 30;
export const BPF_LINK_GET_NEXT_ID = 31;
export const BPF_ENABLE_STATS = 32;
export const BPF_ITER_CREATE = 33;
export const BPF_LINK_DETACH = 34;
export const BPF_PROG_BIND_MAP = 35;
export const BPF_TOKEN_CREATE = 36;
export const BPF_PROG_STREAM_READ_BY_FD = 37;
export const BPF_PROG_ASSOC_STRUCT_OPS = 38;
export const __MAX_BPF_CMD = 39;
export const BPF_COMMON_ATTRS = 65536;

// Map types
export const BPF_MAP_TYPE_UNSPEC = 0;
export const BPF_MAP_TYPE_HASH = 1;
export const BPF_MAP_TYPE_ARRAY = 2;
export const BPF_MAP_TYPE_PROG_ARRAY = 3;
export const BPF_MAP_TYPE_PERF_EVENT_ARRAY = 4;
export const BPF_MAP_TYPE_PERCPU_HASH = 5;
export const BPF_MAP_TYPE_PERCPU_ARRAY = 6;
export const BPF_MAP_TYPE_STACK_TRACE = 7;
export const BPF_MAP_TYPE_CGROUP_ARRAY = 8;
export const BPF_MAP_TYPE_LRU_HASH = 9;
export const BPF_MAP_TYPE_LRU_PERCPU_HASH = 10;
export const BPF_MAP_TYPE_LPM_TRIE = 11;
export const BPF_MAP_TYPE_ARRAY_OF_MAPS = 12;
export const BPF_MAP_TYPE_HASH_OF_MAPS = 13;
export const BPF_MAP_TYPE_DEVMAP = 14;
export const BPF_MAP_TYPE_SOCKMAP = 15;
export const BPF_MAP_TYPE_CPUMAP = 16;
export const BPF_MAP_TYPE_XSKMAP = 17;
export const BPF_MAP_TYPE_SOCKHASH = 18;
export const BPF_MAP_TYPE_CGROUP_STORAGE_DEPRECATED = 19;
export const BPF_MAP_TYPE_CGROUP_STORAGE = 19;
export const BPF_MAP_TYPE_REUSEPORT_SOCKARRAY = 20;
export const BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE_DEPRECATED = 21;
export const BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE = 21;
export const BPF_MAP_TYPE_QUEUE = 22;
export const BPF_MAP_TYPE_STACK = 23;
export const BPF_MAP_TYPE_SK_STORAGE = 24;
export const BPF_MAP_TYPE_DEVMAP_HASH = 25;
export const BPF_MAP_TYPE_STRUCT_OPS = 26;
export const BPF_MAP_TYPE_RINGBUF = 27;
export const BPF_MAP_TYPE_INODE_STORAGE = 28;
export const BPF_MAP_TYPE_TASK_STORAGE = 29;
export const BPF_MAP_TYPE_BLOOM_FILTER = 30;
export const BPF_MAP_TYPE_USER_RINGBUF = 31;
export const BPF_MAP_TYPE_CGRP_STORAGE = 32;
export const BPF_MAP_TYPE_ARENA = 33;
export const BPF_MAP_TYPE_INSN_ARRAY = 34;
export const BPF_MAP_TYPE_RHASH = 35;
export const __MAX_BPF_MAP_TYPE = 36;

// Program types
export const BPF_PROG_TYPE_UNSPEC = 0;
export const BPF_PROG_TYPE_SOCKET_FILTER = 1;
export const BPF_PROG_TYPE_KPROBE = 2;
export const BPF_PROG_TYPE_SCHED_CLS = 3;
export const BPF_PROG_TYPE_SCHED_ACT = 4;
export const BPF_PROG_TYPE_TRACEPOINT = 5;
export const BPF_PROG_TYPE_XDP = 6;
export const BPF_PROG_TYPE_PERF_EVENT = 7;
export const BPF_PROG_TYPE_CGROUP_SKB = 8;
export const BPF_PROG_TYPE_CGROUP_SOCK = 9;
export const BPF_PROG_TYPE_LWT_IN = 10;
export const BPF_PROG_TYPE_LWT_OUT = 11;
export const BPF_PROG_TYPE_LWT_XMIT = 12;
export const BPF_PROG_TYPE_SOCK_OPS = 13;
export const BPF_PROG_TYPE_SK_SKB = 14;
export const BPF_PROG_TYPE_CGROUP_DEVICE = 15;
export const BPF_PROG_TYPE_SK_MSG = 16;
export const BPF_PROG_TYPE_RAW_TRACEPOINT = 17;
export const BPF_PROG_TYPE_CGROUP_SOCK_ADDR = 18;
export const BPF_PROG_TYPE_LWT_SEG6LOCAL = 19;
export const BPF_PROG_TYPE_LIRC_MODE2 = 20;
export const BPF_PROG_TYPE_SK_REUSEPORT = 21;
export const BPF_PROG_TYPE_FLOW_DISSECTOR = 22;
export const BPF_PROG_TYPE_CGROUP_SYSCTL = 23;
export const BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE = 24;
export const BPF_PROG_TYPE_CGROUP_SOCKOPT = 25;
export const BPF_PROG_TYPE_TRACING = 26;
export const BPF_PROG_TYPE_STRUCT_OPS = 27;
export const BPF_PROG_TYPE_EXT = 28;
export const BPF_PROG_TYPE_LSM = 29;
export const BPF_PROG_TYPE_SK_LOOKUP = 30;
export const BPF_PROG_TYPE_SYSCALL = 31;
export const BPF_PROG_TYPE_NETFILTER = 32;
export const __MAX_BPF_PROG_TYPE = 33;

// Attach types
export const BPF_CGROUP_INET_INGRESS = 0;
export const BPF_CGROUP_INET_EGRESS = 1;
export const BPF_CGROUP_INET_SOCK_CREATE = 2;
export const BPF_CGROUP_SOCK_OPS = 3;
export const BPF_SK_SKB_STREAM_PARSER = 4;
export const BPF_SK_SKB_STREAM_VERDICT = 5;
export const BPF_CGROUP_DEVICE = 6;
export const BPF_SK_MSG_VERDICT = 7;
export const BPF_CGROUP_INET4_BIND = 8;
export const BPF_CGROUP_INET6_BIND = 9;
export const BPF_CGROUP_INET4_CONNECT = 10;
export const BPF_CGROUP_INET6_CONNECT = 11;
export const BPF_CGROUP_INET4_POST_BIND = 12;
export const BPF_CGROUP_INET6_POST_BIND = 13;
export const BPF_CGROUP_UDP4_SENDMSG = 14;
export const BPF_CGROUP_UDP6_SENDMSG = 15;
export const BPF_LIRC_MODE2 = 16;
export const BPF_FLOW_DISSECTOR = 17;
export const BPF_CGROUP_SYSCTL = 18;
export const BPF_CGROUP_UDP4_RECVMSG = 19;
export const BPF_CGROUP_UDP6_RECVMSG = 20;
export const BPF_CGROUP_GETSOCKOPT = 21;
export const BPF_CGROUP_SETSOCKOPT = 22;
export const BPF_TRACE_RAW_TP = 23;
export const BPF_TRACE_FENTRY = 24;
export const BPF_TRACE_FEXIT = 25;
export const BPF_MODIFY_RETURN = 26;
export const BPF_LSM_MAC = 27;
export const BPF_TRACE_ITER = 28;
export const BPF_CGROUP_INET4_GETPEERNAME = 29;
export const BPF_CGROUP_INET6_GETPEERNAME = 30;
export const BPF_CGROUP_INET4_GETSOCKNAME = 31;
export const BPF_CGROUP_INET6_GETSOCKNAME = 32;
export const BPF_XDP_DEVMAP = 33;
export const BPF_CGROUP_INET_SOCK_RELEASE = 34;
export const BPF_XDP_CPUMAP = 35;
export const BPF_SK_LOOKUP = 36;
export const BPF_XDP = 37;
export const BPF_SK_SKB_VERDICT = 38;
export const BPF_SK_REUSEPORT_SELECT = 39;
export const BPF_SK_REUSEPORT_SELECT_OR_MIGRATE = 40;
export const BPF_PERF_EVENT = 41;
export const BPF_TRACE_KPROBE_MULTI = 42;
export const BPF_LSM_CGROUP = 43;
export const BPF_STRUCT_OPS = 44;
export const BPF_NETFILTER = 45;
export const BPF_TCX_INGRESS = 46;
export const BPF_TCX_EGRESS = 47;
export const BPF_TRACE_UPROBE_MULTI = 48;
export const BPF_CGROUP_UNIX_CONNECT = 49;
export const BPF_CGROUP_UNIX_SENDMSG = 50;
export const BPF_CGROUP_UNIX_RECVMSG = 51;
export const BPF_CGROUP_UNIX_GETPEERNAME = 52;
export const BPF_CGROUP_UNIX_GETSOCKNAME = 53;
export const BPF_NETKIT_PRIMARY = 54;
export const BPF_NETKIT_PEER = 55;
export const BPF_TRACE_KPROBE_SESSION = 56;
export const BPF_TRACE_UPROBE_SESSION = 57;
export const BPF_TRACE_FSESSION = 58;
export const BPF_TRACE_FENTRY_MULTI = 59;
export const BPF_TRACE_FEXIT_MULTI = 60;
export const BPF_TRACE_FSESSION_MULTI = 61;
export const __MAX_BPF_ATTACH_TYPE = 62;

// Link types
export const BPF_LINK_TYPE_UNSPEC = 0;
export const BPF_LINK_TYPE_RAW_TRACEPOINT = 1;
export const BPF_LINK_TYPE_TRACING = 2;
export const BPF_LINK_TYPE_CGROUP = 3;
export const BPF_LINK_TYPE_ITER = 4;
export const BPF_LINK_TYPE_NETNS = 5;
export const BPF_LINK_TYPE_XDP = 6;
export const BPF_LINK_TYPE_PERF_EVENT = 7;
export const BPF_LINK_TYPE_KPROBE_MULTI = 8;
export const BPF_LINK_TYPE_STRUCT_OPS = 9;
export const BPF_LINK_TYPE_NETFILTER = 10;
export const BPF_LINK_TYPE_TCX = 11;
export const BPF_LINK_TYPE_UPROBE_MULTI = 12;
export const BPF_LINK_TYPE_NETKIT = 13;
export const BPF_LINK_TYPE_SOCKMAP = 14;
export const BPF_LINK_TYPE_TRACING_MULTI = 15;
export const __MAX_BPF_LINK_TYPE = 16;

// enum bpf_perf_event_type
export const BPF_PERF_EVENT_UNSPEC = 0;
export const BPF_PERF_EVENT_UPROBE = 1;
export const BPF_PERF_EVENT_URETPROBE = 2;
export const BPF_PERF_EVENT_KPROBE = 3;
export const BPF_PERF_EVENT_KRETPROBE = 4;
export const BPF_PERF_EVENT_TRACEPOINT = 5;
export const BPF_PERF_EVENT_EVENT = 6;

// enum bpf_addr_space_cast
export const BPF_ADDR_SPACE_CAST = 1;

// enum bpf_stats_type
export const BPF_STATS_RUN_TIME = 0;

// enum bpf_stack_build_id_status
export const BPF_STACK_BUILD_ID_EMPTY = 0;
export const BPF_STACK_BUILD_ID_VALID = 1;
export const BPF_STACK_BUILD_ID_IP = 2;

// enum bpf_adj_room_flags
export const BPF_F_ADJ_ROOM_FIXED_GSO = 1;
export const BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 = 2;
export const BPF_F_ADJ_ROOM_ENCAP_L3_IPV6 = 4;
export const BPF_F_ADJ_ROOM_ENCAP_L4_GRE = 8;
export const BPF_F_ADJ_ROOM_ENCAP_L4_UDP = 16;
export const BPF_F_ADJ_ROOM_NO_CSUM_RESET = 32;
export const BPF_F_ADJ_ROOM_ENCAP_L2_ETH = 64;
export const BPF_F_ADJ_ROOM_DECAP_L3_IPV4 = 128;
export const BPF_F_ADJ_ROOM_DECAP_L3_IPV6 = 256;
export const BPF_F_ADJ_ROOM_DECAP_L4_GRE = 512;
export const BPF_F_ADJ_ROOM_DECAP_L4_UDP = 1024;
export const BPF_F_ADJ_ROOM_DECAP_IPXIP4 = 2048;
export const BPF_F_ADJ_ROOM_DECAP_IPXIP6 = 4096;

// enum bpf_adj_room_mode
export const BPF_ADJ_ROOM_NET = 0;
export const BPF_ADJ_ROOM_MAC = 1;

// enum bpf_hdr_start_off
export const BPF_HDR_START_MAC = 0;
export const BPF_HDR_START_NET = 1;

// enum bpf_lwt_encap_mode
export const BPF_LWT_ENCAP_SEG6 = 0;
export const BPF_LWT_ENCAP_SEG6_INLINE = 1;
export const BPF_LWT_ENCAP_IP = 2;

// enum bpf_ret_code
export const BPF_OK = 0;
export const BPF_DROP = 2;
export const BPF_REDIRECT = 7;
export const BPF_LWT_REROUTE = 128;
export const BPF_FLOW_DISSECTOR_CONTINUE = 129;

// enum tcx_action_base
export const TCX_NEXT = -1;
export const TCX_PASS = 0;
export const TCX_DROP = 2;
export const TCX_REDIRECT = 7;

// enum xdp_action
export const XDP_ABORTED = 0;
export const XDP_DROP = 1;
export const XDP_PASS = 2;
export const XDP_TX = 3;
export const XDP_REDIRECT = 4;

// enum sk_action
export const SK_DROP = 0;
export const SK_PASS = 1;

// enum bpf_check_mtu_flags
export const BPF_MTU_CHK_SEGS = 1;

// enum bpf_check_mtu_ret
export const BPF_MTU_CHK_RET_SUCCESS = 0;
export const BPF_MTU_CHK_RET_FRAG_NEEDED = 1;
export const BPF_MTU_CHK_RET_SEGS_TOOBIG = 2;

// enum bpf_task_fd_type
export const BPF_FD_TYPE_RAW_TRACEPOINT = 0;
export const BPF_FD_TYPE_TRACEPOINT = 1;
export const BPF_FD_TYPE_KPROBE = 2;
export const BPF_FD_TYPE_KRETPROBE = 3;
export const BPF_FD_TYPE_UPROBE = 4;
export const BPF_FD_TYPE_URETPROBE = 5;

// enum bpf_core_relo_kind
export const BPF_CORE_FIELD_BYTE_OFFSET = 0;
export const BPF_CORE_FIELD_BYTE_SIZE = 1;
export const BPF_CORE_FIELD_EXISTS = 2;
export const BPF_CORE_FIELD_SIGNED = 3;
export const BPF_CORE_FIELD_LSHIFT_U64 = 4;
export const BPF_CORE_FIELD_RSHIFT_U64 = 5;
export const BPF_CORE_TYPE_ID_LOCAL = 6;
export const BPF_CORE_TYPE_ID_TARGET = 7;
export const BPF_CORE_TYPE_EXISTS = 8;
export const BPF_CORE_TYPE_SIZE = 9;
export const BPF_CORE_ENUMVAL_EXISTS = 10;
export const BPF_CORE_ENUMVAL_VALUE = 11;
export const BPF_CORE_TYPE_MATCHES = 12;

// enum bpf_kfunc_flags
export const BPF_F_PAD_ZEROS = 1;

// Macros of btf.h
export const BTF_MAGIC = 60319;
export const BTF_VERSION = 1;

// enum btf_max
export const BTF_MAX_KIND = 127;
export const BTF_MAX_TYPE = 1048575;
export const BTF_MAX_NAME_OFFSET = 16777215;
export const BTF_MAX_VLEN = 16777215;

// Anonymous enumerations of btf.h
export const BTF_KIND_UNKN = 0;
export const BTF_KIND_INT = 1;
export const BTF_KIND_PTR = 2;
export const BTF_KIND_ARRAY = 3;
export const BTF_KIND_STRUCT = 4;
export const BTF_KIND_UNION = 5;
export const BTF_KIND_ENUM = 6;
export const BTF_KIND_FWD = 7;
export const BTF_KIND_TYPEDEF = 8;
export const BTF_KIND_VOLATILE = 9;
export const BTF_KIND_CONST = 10;
export const BTF_KIND_RESTRICT = 11;
export const BTF_KIND_FUNC = 12;
export const BTF_KIND_FUNC_PROTO = 13;
export const BTF_KIND_VAR = 14;
export const BTF_KIND_DATASEC = 15;
export const BTF_KIND_FLOAT = 16;
export const BTF_KIND_DECL_TAG = 17;
export const BTF_KIND_TYPE_TAG = 18;
export const BTF_KIND_ENUM64 = 19;
export const NR_BTF_KINDS = 20;
export const BTF_KIND_MAX = 19;
export const BTF_VAR_STATIC = 0;
export const BTF_VAR_GLOBAL_ALLOCATED = 1;
export const BTF_VAR_GLOBAL_EXTERN = 2;

// enum btf_func_linkage
export const BTF_FUNC_STATIC = 0;
export const BTF_FUNC_GLOBAL = 1;
export const BTF_FUNC_EXTERN = 2;

// Helper function ids
export const BPF_FUNC_unspec = 0;
export const BPF_FUNC_map_lookup_elem = 1;
export const BPF_FUNC_map_update_elem = 2;
export const BPF_FUNC_map_delete_elem = 3;
export const BPF_FUNC_probe_read = 4;
export const BPF_FUNC_ktime_get_ns = 5;
export const BPF_FUNC_trace_printk = 6;
export const BPF_FUNC_get_prandom_u32 = 7;
export const BPF_FUNC_get_smp_processor_id = 8;
export const BPF_FUNC_skb_store_bytes = 9;
export const BPF_FUNC_l3_csum_replace = 10;
export const BPF_FUNC_l4_csum_replace = 11;
export const BPF_FUNC_tail_call = 12;
export const BPF_FUNC_clone_redirect = 13;
export const BPF_FUNC_get_current_pid_tgid = 14;
export const BPF_FUNC_get_current_uid_gid = 15;
export const BPF_FUNC_get_current_comm = 16;
export const BPF_FUNC_get_cgroup_classid = 17;
export const BPF_FUNC_skb_vlan_push = 18;
export const BPF_FUNC_skb_vlan_pop = 19;
export const BPF_FUNC_skb_get_tunnel_key = 20;
export const BPF_FUNC_skb_set_tunnel_key = 21;
export const BPF_FUNC_perf_event_read = 22;
export const BPF_FUNC_redirect = 23;
export const BPF_FUNC_get_route_realm = 24;
export const BPF_FUNC_perf_event_output = 25;
export const BPF_FUNC_skb_load_bytes = 26;
export const BPF_FUNC_get_stackid = 27;
export const BPF_FUNC_csum_diff = 28;
export const BPF_FUNC_skb_get_tunnel_opt = 29;
export const BPF_FUNC_skb_set_tunnel_opt = 30;
export const BPF_FUNC_skb_change_proto = 31;
export const BPF_FUNC_skb_change_type = 32;
export const BPF_FUNC_skb_under_cgroup = 33;
export const BPF_FUNC_get_hash_recalc = 34;
export const BPF_FUNC_get_current_task = 35;
export const BPF_FUNC_probe_write_user = 36;
export const BPF_FUNC_current_task_under_cgroup = 37;
export const BPF_FUNC_skb_change_tail = 38;
export const BPF_FUNC_skb_pull_data = 39;
export const BPF_FUNC_csum_update = 40;
export const BPF_FUNC_set_hash_invalid = 41;
export const BPF_FUNC_get_numa_node_id = 42;
export const BPF_FUNC_skb_change_head = 43;
export const BPF_FUNC_xdp_adjust_head = 44;
export const BPF_FUNC_probe_read_str = 45;
export const BPF_FUNC_get_socket_cookie = 46;
export const BPF_FUNC_get_socket_uid = 47;
export const BPF_FUNC_set_hash = 48;
export const BPF_FUNC_setsockopt = 49;
export const BPF_FUNC_skb_adjust_room = 50;
export const BPF_FUNC_redirect_map = 51;
export const BPF_FUNC_sk_redirect_map = 52;
export const BPF_FUNC_sock_map_update = 53;
export const BPF_FUNC_xdp_adjust_meta = 54;
export const BPF_FUNC_perf_event_read_value = 55;
export const BPF_FUNC_perf_prog_read_value = 56;
export const BPF_FUNC_getsockopt = 57;
export const BPF_FUNC_override_return = 58;
export const BPF_FUNC_sock_ops_cb_flags_set = 59;
export const BPF_FUNC_msg_redirect_map = 60;
export const BPF_FUNC_msg_apply_bytes = 61;
export const BPF_FUNC_msg_cork_bytes = 62;
export const BPF_FUNC_msg_pull_data = 63;
export const BPF_FUNC_bind = 64;
export const BPF_FUNC_xdp_adjust_tail = 65;
export const BPF_FUNC_skb_get_xfrm_state = 66;
export const BPF_FUNC_get_stack = 67;
export const BPF_FUNC_skb_load_bytes_relative = 68;
export const BPF_FUNC_fib_lookup = 69;
export const BPF_FUNC_sock_hash_update = 70;
export const BPF_FUNC_msg_redirect_hash = 71;
export const BPF_FUNC_sk_redirect_hash = 72;
export const BPF_FUNC_lwt_push_encap = 73;
export const BPF_FUNC_lwt_seg6_store_bytes = 74;
export const BPF_FUNC_lwt_seg6_adjust_srh = 75;
export const BPF_FUNC_lwt_seg6_action = 76;
export const BPF_FUNC_rc_repeat = 77;
export const BPF_FUNC_rc_keydown = 78;
export const BPF_FUNC_skb_cgroup_id = 79;
export const BPF_FUNC_get_current_cgroup_id = 80;
export const BPF_FUNC_get_local_storage = 81;
export const BPF_FUNC_sk_select_reuseport = 82;
export const BPF_FUNC_skb_ancestor_cgroup_id = 83;
export const BPF_FUNC_sk_lookup_tcp = 84;
export const BPF_FUNC_sk_lookup_udp = 85;
export const BPF_FUNC_sk_release = 86;
export const BPF_FUNC_map_push_elem = 87;
export const BPF_FUNC_map_pop_elem = 88;
export const BPF_FUNC_map_peek_elem = 89;
export const BPF_FUNC_msg_push_data = 90;
export const BPF_FUNC_msg_pop_data = 91;
export const BPF_FUNC_rc_pointer_rel = 92;
export const BPF_FUNC_spin_lock = 93;
export const BPF_FUNC_spin_unlock = 94;
export const BPF_FUNC_sk_fullsock = 95;
export const BPF_FUNC_tcp_sock = 96;
export const BPF_FUNC_skb_ecn_set_ce = 97;
export const BPF_FUNC_get_listener_sock = 98;
export const BPF_FUNC_skc_lookup_tcp = 99;
export const BPF_FUNC_tcp_check_syncookie = 100;
export const BPF_FUNC_sysctl_get_name = 101;
export const BPF_FUNC_sysctl_get_current_value = 102;
export const BPF_FUNC_sysctl_get_new_value = 103;
export const BPF_FUNC_sysctl_set_new_value = 104;
export const BPF_FUNC_strtol = 105;
export const BPF_FUNC_strtoul = 106;
export const BPF_FUNC_sk_storage_get = 107;
export const BPF_FUNC_sk_storage_delete = 108;
export const BPF_FUNC_send_signal = 109;
export const BPF_FUNC_tcp_gen_syncookie = 110;
export const BPF_FUNC_skb_output = 111;
export const BPF_FUNC_probe_read_user = 112;
export const BPF_FUNC_probe_read_kernel = 113;
export const BPF_FUNC_probe_read_user_str = 114;
export const BPF_FUNC_probe_read_kernel_str = 115;
export const BPF_FUNC_tcp_send_ack = 116;
export const BPF_FUNC_send_signal_thread = 117;
export const BPF_FUNC_jiffies64 = 118;
export const BPF_FUNC_read_branch_records = 119;
export const BPF_FUNC_get_ns_current_pid_tgid = 120;
export const BPF_FUNC_xdp_output = 121;
export const BPF_FUNC_get_netns_cookie = 122;
export const BPF_FUNC_get_current_ancestor_cgroup_id = 123;
export const BPF_FUNC_sk_assign = 124;
export const BPF_FUNC_ktime_get_boot_ns = 125;
export const BPF_FUNC_seq_printf = 126;
export const BPF_FUNC_seq_write = 127;
export const BPF_FUNC_sk_cgroup_id = 128;
export const BPF_FUNC_sk_ancestor_cgroup_id = 129;
export const BPF_FUNC_ringbuf_output = 130;
export const BPF_FUNC_ringbuf_reserve = 131;
export const BPF_FUNC_ringbuf_submit = 132;
export const BPF_FUNC_ringbuf_discard = 133;
export const BPF_FUNC_ringbuf_query = 134;
export const BPF_FUNC_csum_level = 135;
export const BPF_FUNC_skc_to_tcp6_sock = 136;
export const BPF_FUNC_skc_to_tcp_sock = 137;
export const BPF_FUNC_skc_to_tcp_timewait_sock = 138;
export const BPF_FUNC_skc_to_tcp_request_sock = 139;
export const BPF_FUNC_skc_to_udp6_sock = 140;
export const BPF_FUNC_get_task_stack = 141;
export const BPF_FUNC_load_hdr_opt = 142;
export const BPF_FUNC_store_hdr_opt = 143;
export const BPF_FUNC_reserve_hdr_opt = 144;
export const BPF_FUNC_inode_storage_get = 145;
export const BPF_FUNC_inode_storage_delete = 146;
export const BPF_FUNC_d_path = 147;
export const BPF_FUNC_copy_from_user = 148;
export const BPF_FUNC_snprintf_btf = 149;
export const BPF_FUNC_seq_printf_btf = 150;
export const BPF_FUNC_skb_cgroup_classid = 151;
export const BPF_FUNC_redirect_neigh = 152;
export const BPF_FUNC_per_cpu_ptr = 153;
export const BPF_FUNC_this_cpu_ptr = 154;
export const BPF_FUNC_redirect_peer = 155;
export const BPF_FUNC_task_storage_get = 156;
export const BPF_FUNC_task_storage_delete = 157;
export const BPF_FUNC_get_current_task_btf = 158;
export const BPF_FUNC_bprm_opts_set = 159;
export const BPF_FUNC_ktime_get_coarse_ns = 160;
export const BPF_FUNC_ima_inode_hash = 161;
export const BPF_FUNC_sock_from_file = 162;
export const BPF_FUNC_check_mtu = 163;
export const BPF_FUNC_for_each_map_elem = 164;
export const BPF_FUNC_snprintf = 165;
export const BPF_FUNC_sys_bpf = 166;
export const BPF_FUNC_btf_find_by_name_kind = 167;
export const BPF_FUNC_sys_close = 168;
export const BPF_FUNC_timer_init = 169;
export const BPF_FUNC_timer_set_callback = 170;
export const BPF_FUNC_timer_start = 171;
export const BPF_FUNC_timer_cancel = 172;
export const BPF_FUNC_get_func_ip = 173;
export const BPF_FUNC_get_attach_cookie = 174;
export const BPF_FUNC_task_pt_regs = 175;
export const BPF_FUNC_get_branch_snapshot = 176;
export const BPF_FUNC_trace_vprintk = 177;
export const BPF_FUNC_skc_to_unix_sock = 178;
export const BPF_FUNC_kallsyms_lookup_name = 179;
export const BPF_FUNC_find_vma = 180;
export const BPF_FUNC_loop = 181;
export const BPF_FUNC_strncmp = 182;
export const BPF_FUNC_get_func_arg = 183;
export const BPF_FUNC_get_func_ret = 184;
export const BPF_FUNC_get_func_arg_cnt = 185;
export const BPF_FUNC_get_retval = 186;
export const BPF_FUNC_set_retval = 187;
export const BPF_FUNC_xdp_get_buff_len = 188;
export const BPF_FUNC_xdp_load_bytes = 189;
export const BPF_FUNC_xdp_store_bytes = 190;
export const BPF_FUNC_copy_from_user_task = 191;
export const BPF_FUNC_skb_set_tstamp = 192;
export const BPF_FUNC_ima_file_hash = 193;
export const BPF_FUNC_kptr_xchg = 194;
export const BPF_FUNC_map_lookup_percpu_elem = 195;
export const BPF_FUNC_skc_to_mptcp_sock = 196;
export const BPF_FUNC_dynptr_from_mem = 197;
export const BPF_FUNC_ringbuf_reserve_dynptr = 198;
export const BPF_FUNC_ringbuf_submit_dynptr = 199;
export const BPF_FUNC_ringbuf_discard_dynptr = 200;
export const BPF_FUNC_dynptr_read = 201;
export const BPF_FUNC_dynptr_write = 202;
export const BPF_FUNC_dynptr_data = 203;
export const BPF_FUNC_tcp_raw_gen_syncookie_ipv4 = 204;
export const BPF_FUNC_tcp_raw_gen_syncookie_ipv6 = 205;
export const BPF_FUNC_tcp_raw_check_syncookie_ipv4 = 206;
export const BPF_FUNC_tcp_raw_check_syncookie_ipv6 = 207;
export const BPF_FUNC_ktime_get_tai_ns = 208;
export const BPF_FUNC_user_ringbuf_drain = 209;
export const BPF_FUNC_cgrp_storage_get = 210;
export const BPF_FUNC_cgrp_storage_delete = 211;

/** Name of a command without `BPF_`, by number. */
export const COMMAND_NAMES: readonly string[] = [
  'MAP_CREATE', 'MAP_LOOKUP_ELEM', 'MAP_UPDATE_ELEM', 'MAP_DELETE_ELEM', 'MAP_GET_NEXT_KEY', 'PROG_LOAD', 'OBJ_PIN',
  'OBJ_GET', 'PROG_ATTACH', 'PROG_DETACH', 'PROG_TEST_RUN', 'PROG_GET_NEXT_ID', 'MAP_GET_NEXT_ID',
  'PROG_GET_FD_BY_ID', 'MAP_GET_FD_BY_ID', 'OBJ_GET_INFO_BY_FD', 'PROG_QUERY', 'RAW_TRACEPOINT_OPEN', 'BTF_LOAD',
  'BTF_GET_FD_BY_ID', 'TASK_FD_QUERY', 'MAP_LOOKUP_AND_DELETE_ELEM', 'MAP_FREEZE', 'BTF_GET_NEXT_ID',
  'MAP_LOOKUP_BATCH', 'MAP_LOOKUP_AND_DELETE_BATCH', 'MAP_UPDATE_BATCH', 'MAP_DELETE_BATCH', 'LINK_CREATE',
  'LINK_UPDATE', 'LINK_GET_FD_BY_ID', 'LINK_GET_NEXT_ID', 'ENABLE_STATS', 'ITER_CREATE', 'LINK_DETACH',
  'PROG_BIND_MAP', 'TOKEN_CREATE', 'PROG_STREAM_READ_BY_FD', 'PROG_ASSOC_STRUCT_OPS',
];

/** Name of a map type without `BPF_MAP_TYPE_`, by number. */
export const MAP_TYPE_NAMES: readonly string[] = [
  'UNSPEC', 'HASH', 'ARRAY', 'PROG_ARRAY', 'PERF_EVENT_ARRAY', 'PERCPU_HASH', 'PERCPU_ARRAY', 'STACK_TRACE',
  'CGROUP_ARRAY', 'LRU_HASH', 'LRU_PERCPU_HASH', 'LPM_TRIE', 'ARRAY_OF_MAPS', 'HASH_OF_MAPS', 'DEVMAP', 'SOCKMAP',
  'CPUMAP', 'XSKMAP', 'SOCKHASH', 'CGROUP_STORAGE_DEPRECATED', 'REUSEPORT_SOCKARRAY',
  'PERCPU_CGROUP_STORAGE_DEPRECATED', 'QUEUE', 'STACK', 'SK_STORAGE', 'DEVMAP_HASH', 'STRUCT_OPS', 'RINGBUF',
  'INODE_STORAGE', 'TASK_STORAGE', 'BLOOM_FILTER', 'USER_RINGBUF', 'CGRP_STORAGE', 'ARENA', 'INSN_ARRAY', 'RHASH',
];

/** Name of a program type without `BPF_PROG_TYPE_`, by number. */
export const PROG_TYPE_NAMES: readonly string[] = [
  'UNSPEC', 'SOCKET_FILTER', 'KPROBE', 'SCHED_CLS', 'SCHED_ACT', 'TRACEPOINT', 'XDP', 'PERF_EVENT', 'CGROUP_SKB',
  'CGROUP_SOCK', 'LWT_IN', 'LWT_OUT', 'LWT_XMIT', 'SOCK_OPS', 'SK_SKB', 'CGROUP_DEVICE', 'SK_MSG', 'RAW_TRACEPOINT',
  'CGROUP_SOCK_ADDR', 'LWT_SEG6LOCAL', 'LIRC_MODE2', 'SK_REUSEPORT', 'FLOW_DISSECTOR', 'CGROUP_SYSCTL',
  'RAW_TRACEPOINT_WRITABLE', 'CGROUP_SOCKOPT', 'TRACING', 'STRUCT_OPS', 'EXT', 'LSM', 'SK_LOOKUP', 'SYSCALL',
  'NETFILTER',
];

/** Name of an attach type without `BPF_`, by number. */
export const ATTACH_TYPE_NAMES: readonly string[] = [
  'CGROUP_INET_INGRESS', 'CGROUP_INET_EGRESS', 'CGROUP_INET_SOCK_CREATE', 'CGROUP_SOCK_OPS', 'SK_SKB_STREAM_PARSER',
  'SK_SKB_STREAM_VERDICT', 'CGROUP_DEVICE', 'SK_MSG_VERDICT', 'CGROUP_INET4_BIND', 'CGROUP_INET6_BIND',
  'CGROUP_INET4_CONNECT', 'CGROUP_INET6_CONNECT', 'CGROUP_INET4_POST_BIND', 'CGROUP_INET6_POST_BIND',
  'CGROUP_UDP4_SENDMSG', 'CGROUP_UDP6_SENDMSG', 'LIRC_MODE2', 'FLOW_DISSECTOR', 'CGROUP_SYSCTL',
  'CGROUP_UDP4_RECVMSG', 'CGROUP_UDP6_RECVMSG', 'CGROUP_GETSOCKOPT', 'CGROUP_SETSOCKOPT', 'TRACE_RAW_TP',
  'TRACE_FENTRY', 'TRACE_FEXIT', 'MODIFY_RETURN', 'LSM_MAC', 'TRACE_ITER', 'CGROUP_INET4_GETPEERNAME',
  'CGROUP_INET6_GETPEERNAME', 'CGROUP_INET4_GETSOCKNAME', 'CGROUP_INET6_GETSOCKNAME', 'XDP_DEVMAP',
  'CGROUP_INET_SOCK_RELEASE', 'XDP_CPUMAP', 'SK_LOOKUP', 'XDP', 'SK_SKB_VERDICT', 'SK_REUSEPORT_SELECT',
  'SK_REUSEPORT_SELECT_OR_MIGRATE', 'PERF_EVENT', 'TRACE_KPROBE_MULTI', 'LSM_CGROUP', 'STRUCT_OPS', 'NETFILTER',
  'TCX_INGRESS', 'TCX_EGRESS', 'TRACE_UPROBE_MULTI', 'CGROUP_UNIX_CONNECT', 'CGROUP_UNIX_SENDMSG',
  'CGROUP_UNIX_RECVMSG', 'CGROUP_UNIX_GETPEERNAME', 'CGROUP_UNIX_GETSOCKNAME', 'NETKIT_PRIMARY', 'NETKIT_PEER',
  'TRACE_KPROBE_SESSION', 'TRACE_UPROBE_SESSION', 'TRACE_FSESSION', 'TRACE_FENTRY_MULTI', 'TRACE_FEXIT_MULTI',
  'TRACE_FSESSION_MULTI',
];

/** Name of a helper without `BPF_FUNC_`, by number. */
export const HELPER_NAMES: readonly string[] = [
  'unspec', 'map_lookup_elem', 'map_update_elem', 'map_delete_elem', 'probe_read', 'ktime_get_ns', 'trace_printk',
  'get_prandom_u32', 'get_smp_processor_id', 'skb_store_bytes', 'l3_csum_replace', 'l4_csum_replace', 'tail_call',
  'clone_redirect', 'get_current_pid_tgid', 'get_current_uid_gid', 'get_current_comm', 'get_cgroup_classid',
  'skb_vlan_push', 'skb_vlan_pop', 'skb_get_tunnel_key', 'skb_set_tunnel_key', 'perf_event_read', 'redirect',
  'get_route_realm', 'perf_event_output', 'skb_load_bytes', 'get_stackid', 'csum_diff', 'skb_get_tunnel_opt',
  'skb_set_tunnel_opt', 'skb_change_proto', 'skb_change_type', 'skb_under_cgroup', 'get_hash_recalc',
  'get_current_task', 'probe_write_user', 'current_task_under_cgroup', 'skb_change_tail', 'skb_pull_data',
  'csum_update', 'set_hash_invalid', 'get_numa_node_id', 'skb_change_head', 'xdp_adjust_head', 'probe_read_str',
  'get_socket_cookie', 'get_socket_uid', 'set_hash', 'setsockopt', 'skb_adjust_room', 'redirect_map',
  'sk_redirect_map', 'sock_map_update', 'xdp_adjust_meta', 'perf_event_read_value', 'perf_prog_read_value',
  'getsockopt', 'override_return', 'sock_ops_cb_flags_set', 'msg_redirect_map', 'msg_apply_bytes', 'msg_cork_bytes',
  'msg_pull_data', 'bind', 'xdp_adjust_tail', 'skb_get_xfrm_state', 'get_stack', 'skb_load_bytes_relative',
  'fib_lookup', 'sock_hash_update', 'msg_redirect_hash', 'sk_redirect_hash', 'lwt_push_encap',
  'lwt_seg6_store_bytes', 'lwt_seg6_adjust_srh', 'lwt_seg6_action', 'rc_repeat', 'rc_keydown', 'skb_cgroup_id',
  'get_current_cgroup_id', 'get_local_storage', 'sk_select_reuseport', 'skb_ancestor_cgroup_id', 'sk_lookup_tcp',
  'sk_lookup_udp', 'sk_release', 'map_push_elem', 'map_pop_elem', 'map_peek_elem', 'msg_push_data', 'msg_pop_data',
  'rc_pointer_rel', 'spin_lock', 'spin_unlock', 'sk_fullsock', 'tcp_sock', 'skb_ecn_set_ce', 'get_listener_sock',
  'skc_lookup_tcp', 'tcp_check_syncookie', 'sysctl_get_name', 'sysctl_get_current_value', 'sysctl_get_new_value',
  'sysctl_set_new_value', 'strtol', 'strtoul', 'sk_storage_get', 'sk_storage_delete', 'send_signal',
  'tcp_gen_syncookie', 'skb_output', 'probe_read_user', 'probe_read_kernel', 'probe_read_user_str',
  'probe_read_kernel_str', 'tcp_send_ack', 'send_signal_thread', 'jiffies64', 'read_branch_records',
  'get_ns_current_pid_tgid', 'xdp_output', 'get_netns_cookie', 'get_current_ancestor_cgroup_id', 'sk_assign',
  'ktime_get_boot_ns', 'seq_printf', 'seq_write', 'sk_cgroup_id', 'sk_ancestor_cgroup_id', 'ringbuf_output',
  'ringbuf_reserve', 'ringbuf_submit', 'ringbuf_discard', 'ringbuf_query', 'csum_level', 'skc_to_tcp6_sock',
  'skc_to_tcp_sock', 'skc_to_tcp_timewait_sock', 'skc_to_tcp_request_sock', 'skc_to_udp6_sock', 'get_task_stack',
  'load_hdr_opt', 'store_hdr_opt', 'reserve_hdr_opt', 'inode_storage_get', 'inode_storage_delete', 'd_path',
  'copy_from_user', 'snprintf_btf', 'seq_printf_btf', 'skb_cgroup_classid', 'redirect_neigh', 'per_cpu_ptr',
  'this_cpu_ptr', 'redirect_peer', 'task_storage_get', 'task_storage_delete', 'get_current_task_btf',
  'bprm_opts_set', 'ktime_get_coarse_ns', 'ima_inode_hash', 'sock_from_file', 'check_mtu', 'for_each_map_elem',
  'snprintf', 'sys_bpf', 'btf_find_by_name_kind', 'sys_close', 'timer_init', 'timer_set_callback', 'timer_start',
  'timer_cancel', 'get_func_ip', 'get_attach_cookie', 'task_pt_regs', 'get_branch_snapshot', 'trace_vprintk',
  'skc_to_unix_sock', 'kallsyms_lookup_name', 'find_vma', 'loop', 'strncmp', 'get_func_arg', 'get_func_ret',
  'get_func_arg_cnt', 'get_retval', 'set_retval', 'xdp_get_buff_len', 'xdp_load_bytes', 'xdp_store_bytes',
  'copy_from_user_task', 'skb_set_tstamp', 'ima_file_hash', 'kptr_xchg', 'map_lookup_percpu_elem',
  'skc_to_mptcp_sock', 'dynptr_from_mem', 'ringbuf_reserve_dynptr', 'ringbuf_submit_dynptr',
  'ringbuf_discard_dynptr', 'dynptr_read', 'dynptr_write', 'dynptr_data', 'tcp_raw_gen_syncookie_ipv4',
  'tcp_raw_gen_syncookie_ipv6', 'tcp_raw_check_syncookie_ipv4', 'tcp_raw_check_syncookie_ipv6', 'ktime_get_tai_ns',
  'user_ringbuf_drain', 'cgrp_storage_get', 'cgrp_storage_delete',
];
