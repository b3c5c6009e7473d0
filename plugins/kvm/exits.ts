// What an exit that nobody handles says of itself: the reason, the instruction's bytes, the registers.

import { EMULATION_HAS_BYTES, EXIT, SUBERROR } from "./api.ts";
import { errorName, SystemError } from "./libc.ts";
import type { Registers } from "./registers.ts";
import type { kvm_run, Struct } from "./structures.ts";
import type { HostRam } from "./vm.ts";

type Run = Struct<typeof kvm_run>;

function nameOf(reason: number): string {
  const name = Object.entries(EXIT).find(([, value]) => value === reason)?.[0];
  return name ? `KVM_EXIT_${name}` : `exit ${reason}`;
}

function detail(run: Run): string {
  switch (run.get("exit_reason")) {
    case EXIT.FAIL_ENTRY:
      return `, hardware reason 0x${run.getBig("fail_entry_hardware_entry_failure_reason").toString(16)}`;
    case EXIT.UNKNOWN:
      return `, hardware reason 0x${run.getBig("hw_hardware_exit_reason").toString(16)}`;
    case EXIT.INTERNAL_ERROR: {
      const suberror = run.get("internal_suberror");
      return `, suberror ${suberror} (${SUBERROR[suberror - 1] ?? "unknown"})`;
    }
    case EXIT.SYSTEM_EVENT:
      return `, event ${run.get("system_event_type")}`;
    default:
      return "";
  }
}

/** The bytes that an emulation stumbled over, where KVM gives them. */
export function failedBytes(run: Run): Uint8Array | undefined {
  if (run.get("exit_reason") !== EXIT.INTERNAL_ERROR || run.get("internal_suberror") !== 1) return undefined;
  if (run.get("internal_ndata") < 3 || !(run.get("emulation_failure_flags") & EMULATION_HAS_BYTES)) return undefined;
  const length = Math.min(15, run.get("emulation_failure_insn_size"));
  return Uint8Array.from({ length }, (_, i) => run.get("emulation_failure_insn_bytes", i));
}

/** What `tell` says; where KVM refuses even that, why. */
function orWhyNot(what: string, tell: () => string): string {
  try {
    return tell();
  } catch (error) {
    if (!(error instanceof SystemError)) throw error;
    return `${what} unknown (${error.message})`;
  }
}

/** One sentence for the host. The vCPU must not run. */
export function describeExit(
  vcpu: number,
  errno: number,
  run: Run,
  registers: Pick<Registers, "instruction" | "describe">,
  ram: HostRam,
): string {
  const why = errno
    ? `KVM_RUN failed with ${errorName(errno)}`
    : `KVM left it with ${nameOf(run.get("exit_reason"))}${detail(run)}`;
  const instruction = orWhyNot("instruction", () => {
    const bytes = failedBytes(run) ?? registers.instruction(ram);
    const text = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    return `instruction ${text || "outside of RAM"}`;
  });
  return `vCPU ${vcpu} can not go on: ${why}; ${instruction}; ${orWhyNot("registers", () => registers.describe())}`;
}
