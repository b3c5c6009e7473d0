// Whether KVM can be used here, and if not, why: one line for people.

import { messageOf } from "../../core/errors.ts";
import { API_VERSION, CAPABILITIES, KVM } from "./api.ts";
import { PVM_LIMITS, PVM_PATH } from "./fixups.ts";
import { ERRNO, Libc, SystemError } from "./libc.ts";

/** KVM's device. */
export const DEVICE = "/dev/kvm";

/** What it needs, and what that permits. */
const FFI_NOTE = "needs --allow-ffi, which ends Deno's sandbox";

/** What a probe says. */
export type Probe = { readonly usable: true; readonly note?: string } | {
  readonly usable: false;
  readonly why: string;
};

const REASONS: Readonly<Record<number, string>> = {
  [ERRNO.ENOENT]:
    `there is no ${DEVICE}: a container or a VM that was not given it, no KVM in the kernel, or virtualization is off in the firmware`,
  [ERRNO.EACCES]: `no permission for ${DEVICE}: add your user to its group, mostly kvm`,
  [ERRNO.EPERM]: `no permission for ${DEVICE}`,
  [ERRNO.ENODEV]: `${DEVICE} leads to no device: the module kvm_intel or kvm_amd is not loaded`,
  [ERRNO.ENXIO]: `${DEVICE} leads to no device: the module kvm_intel or kvm_amd is not loaded`,
  [ERRNO.EBUSY]: `${DEVICE} is in use by another hypervisor`,
};

/** What can be said without touching the host's kernel. */
function refusal(): string | undefined {
  const { os, arch } = Deno.build;
  if (os !== "linux") return `it needs Linux, this is ${os}`;
  if (arch !== "x86_64") return `it needs an x86-64 processor, this is ${arch}`;
  if (typeof Deno.dlopen !== "function" || Deno.permissions.querySync({ name: "ffi" }).state !== "granted") {
    return "Deno was not given --allow-ffi (which ends its sandbox)";
  }
  // A Worker's modules are read when it starts, even where they are part of the program already.
  const modules = new URL(".", import.meta.url);
  if (modules.protocol === "file:" && Deno.permissions.querySync({ name: "read", path: modules }).state !== "granted") {
    return `Deno was not given --allow-read for ${
      decodeURIComponent(modules.pathname)
    }, whose modules vCPUs' Workers load`;
  }
}

/** What a probe calls of libc. */
export type ProbedLibc = Pick<Libc, "open" | "close" | "ioctl" | "exists">;

/** Looks for a KVM that has all it takes. Never asks for a permission. */
export function probe(): Probe {
  const why = refusal();
  if (why) return { usable: false, why };
  try {
    return probeDevice(Libc.get());
  } catch (error) {
    return { usable: false, why: `libc can not be used: ${messageOf(error)}` };
  }
}

/** Looks at the device. */
export function probeDevice(libc: ProbedLibc): Probe {
  try {
    const kvm = libc.open(DEVICE);
    try {
      return examine(libc, kvm);
    } finally {
      libc.close(kvm);
    }
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return { usable: false, why: REASONS[error.errno] ?? `${DEVICE} fails at ${error.message}` };
  }
}

function examine(libc: ProbedLibc, kvm: number): Probe {
  const version = libc.ioctl("asking for its version", kvm, KVM.GET_API_VERSION);
  if (version !== API_VERSION) {
    return { usable: false, why: `KVM's interface has version ${version}, not ${API_VERSION}` };
  }
  const missing = Object.entries(CAPABILITIES)
    .filter(([, capability]) => libc.ioctl("asking for a capability", kvm, KVM.CHECK_EXTENSION, capability) === 0)
    .map(([name]) => name);
  if (missing.length) return { usable: false, why: `KVM lacks ${missing.join(", ")}` };
  // A host may list the device and still refuse to make a VM, e.g. inside of another VM.
  libc.close(libc.ioctl("creating a VM", kvm, KVM.CREATE_VM));
  return { usable: true, note: libc.exists(PVM_PATH) ? `${PVM_LIMITS}; ${FFI_NOTE}` : FFI_NOTE };
}
