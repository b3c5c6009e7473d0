// A vCPU in a Worker whose exits nobody handles: what leaving and entering the guest costs in JavaScript.

import { EXIT, KVM } from "../../../plugins/kvm/api.ts";
import { leavesOf, setLeaves, supportedLeaves } from "../../../plugins/kvm/cpuid.ts";
import { addressOf, bufferAt, Libc } from "../../../plugins/kvm/libc.ts";
import { Registers } from "../../../plugins/kvm/registers.ts";
import { kvm_run } from "../../../plugins/kvm/structures.ts";
import { Vm } from "../../../plugins/kvm/vm.ts";

// mov dx, 0x500; again: out dx, al; jmp again
const CODE = [0xba, 0x00, 0x05, 0xee, 0xeb, 0xfd];
const RAM = 1 << 20;
const EXIT_REASON = kvm_run.fields.exit_reason[0];

function measure({ exits, rounds }: { exits: number; rounds: number }): number[] {
  const libc = Libc.get();
  const kvm = libc.open("/dev/kvm");
  const { buffer } = new WebAssembly.Memory({ initial: RAM / 65536, maximum: RAM / 65536 });
  new Uint8Array(buffer).set(CODE, 0x7c00);
  const vm = new Vm(libc, kvm, { address: addressOf(buffer), base: 0, size: RAM });
  const fd = vm.createVcpu(0);
  setLeaves(libc, fd, leavesOf(0, 1, supportedLeaves(libc, kvm), false));
  new Registers(libc, fd).start("real", 0x7c00n, {});
  const size = libc.ioctl("asking for a size", kvm, KVM.GET_VCPU_MMAP_SIZE);
  const run = new DataView(bufferAt(Deno.UnsafePointer.value(libc.map(fd, size)), size));
  const times: number[] = [];
  for (let round = 0; round < rounds; round++) {
    const start = performance.now();
    for (let i = 0; i < exits; i++) {
      const result = libc.bareIoctl(fd, KVM.RUN);
      if (result < 0 || run.getUint32(EXIT_REASON, true) !== EXIT.IO) throw new Error("an exit of another kind");
    }
    times.push((performance.now() - start) * 1e6 / exits);
  }
  return times;
}

const scope = globalThis as unknown as {
  onmessage: (event: MessageEvent<{ exits: number; rounds: number }>) => void;
  postMessage(message: unknown): void;
};
scope.onmessage = ({ data }) => scope.postMessage(measure(data));
