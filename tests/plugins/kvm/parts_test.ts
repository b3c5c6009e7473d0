// Parts of the kvm engine that need no /dev/kvm: the mailbox between threads, and what kvm_pvm needs.

import { assert, assertEquals, assertMatch } from "@std/assert";
import { CAPABILITIES, EMULATION_HAS_BYTES, EXIT, KVM, SYSTEM_EVENT } from "../../../plugins/kvm/api.ts";
import { describeExit, failedBytes } from "../../../plugins/kvm/exits.ts";
import { fixUp, maskForPvm } from "../../../plugins/kvm/fixups.ts";
import { ERRNO, type Libc, SystemError } from "../../../plugins/kvm/libc.ts";
import { COMMAND, commandOf, Mailbox, mailboxBytes, STATE, Watch } from "../../../plugins/kvm/mailbox.ts";
import type { Registers } from "../../../plugins/kvm/registers.ts";
import { probeDevice, type ProbedLibc } from "../../../plugins/kvm/probe.ts";
import { kvm_cpuid_entry2, kvm_regs, kvm_run, Struct } from "../../../plugins/kvm/structures.ts";

Deno.test("a mailbox carries an access there and its answer back, each vCPU's its own", () => {
  const buffer = new SharedArrayBuffer(mailboxBytes(2));
  const [first, second] = [0, 1].map((vcpu) => new Mailbox(buffer, vcpu));
  const seen = new Mailbox(buffer, 1);
  assertEquals([first.state, commandOf(first.order)], [STATE.STARTING, COMMAND.STOP]);
  second.post(true, 2 ** 52 + 0x3f8, 1, 0x41);
  assertEquals([first.state, seen.state], [STATE.STARTING, STATE.ACCESS]);
  assertEquals([seen.write, seen.address, seen.width, seen.value], [true, 2 ** 52 + 0x3f8, 1, 0x41]);
  second.post(false, 0xffff_fffc, 4, 0);
  assertEquals([seen.write, seen.address, seen.width], [false, 0xffff_fffc, 4]);
  seen.reply(0xdead_beef);
  assertEquals([second.answer(1), second.state], [0xdead_beef, STATE.RUNNING]);
});

Deno.test("a Worker has stopped once it obeyed the last order, not an earlier one that said the same", () => {
  const buffer = new SharedArrayBuffer(mailboxBytes(1));
  const [mailbox, worker] = [new Mailbox(buffer, 0), new Mailbox(buffer, 0)];
  const first = worker.order;
  mailbox.command(COMMAND.RUN);
  mailbox.command(COMMAND.STOP);
  assert(!mailbox.stopped);
  worker.obey(first);
  assert(!mailbox.stopped);
  worker.waitWhile(first); // returns: there is another order
  mailbox.command(COMMAND.STOP);
  worker.obey(worker.order);
  assert(mailbox.stopped);
});

Deno.test("a mailbox's answer wakes a Worker that sleeps for it", async () => {
  const buffer = new SharedArrayBuffer(mailboxBytes(1));
  const module = new URL("../../../plugins/kvm/mailbox.ts", import.meta.url).href;
  const source = `import { Mailbox } from ${JSON.stringify(module)};
    onmessage = ({ data }) => {
      const mailbox = new Mailbox(data, 0);
      mailbox.post(false, 0x1234, 2, 0);
      postMessage(mailbox.answer(0));
    };`;
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const worker = new Worker(url, { type: "module" });
  try {
    const answer = new Promise((resolve) => worker.onmessage = ({ data }) => resolve(data));
    worker.postMessage(buffer);
    const mailbox = new Mailbox(buffer, 0);
    while (mailbox.state !== STATE.ACCESS) await new Promise((resolve) => setTimeout(resolve, 1));
    assertEquals([mailbox.address, mailbox.width], [0x1234, 2]);
    await new Promise((resolve) => setTimeout(resolve, 20));
    mailbox.reply(77);
    assertEquals(await answer, 77);
  } finally {
    worker.terminate();
    URL.revokeObjectURL(url);
  }
});

Deno.test("a mailbox tells of a new vCPU by its file and address", () => {
  const buffer = new SharedArrayBuffer(mailboxBytes(1));
  const mailbox = new Mailbox(buffer, 0);
  mailbox.attach(12, 0x7f12_89ab_c000n);
  assertEquals(new Mailbox(buffer, 0).vcpu, { generation: 1, fd: 12, run: 0x7f12_89ab_c000n });
  const watch = new Watch(buffer);
  assert(!watch.awake);
  watch.awake = true;
  assert(new Watch(buffer).awake);
  assertEquals(mailbox.vcpu.fd, 12);
});

Deno.test("under kvm_pvm CPUID hides what is not emulated", () => {
  const leaf = (number: number, ecx = 0xffff_ffff) =>
    new Struct(kvm_cpuid_entry2).set("function", number).set("eax", 0x20).set("ecx", ecx);
  const masked = maskForPvm([leaf(0), leaf(1), leaf(6), leaf(7), leaf(0xd), leaf(0x4000_0001), leaf(0x8000_0001)]);
  assertEquals(masked.map((leaf) => leaf.get("function")), [0, 1, 6, 0x8000_0001]);
  assertEquals([masked[0].get("eax"), masked[1].get("ecx")], [6, 0xffff_ffff - (1 << 13) - (1 << 23) - (3 << 26)]);
});

/** An exit for an instruction that was not emulated. */
function failed(bytes: readonly number[]): Struct<typeof kvm_run> {
  const run = new Struct(kvm_run).set("exit_reason", EXIT.INTERNAL_ERROR).set("internal_suberror", 1);
  run.set("internal_ndata", 4).set("emulation_failure_flags", EMULATION_HAS_BYTES);
  run.set("emulation_failure_insn_size", bytes.length);
  bytes.forEach((byte, i) => run.set("emulation_failure_insn_bytes", byte, i));
  return run;
}

Deno.test("under kvm_pvm INT3 becomes a breakpoint exception, FWAIT nothing, and all else stays a failure", () => {
  assertEquals(failedBytes(failed([0xcc, 0x90])), Uint8Array.of(0xcc, 0x90));
  const calls: string[] = [];
  const libc = {
    ioctl: (action: string, _fd: number, _request: number, bytes: Uint8Array) =>
      calls.push(`${action} ${bytes.slice(0, 3)}`),
  } as unknown as Libc;
  const registers = { general: new Struct(kvm_regs).set("rip", 0x1000) } as Registers;
  const ram = { address: 0n, base: 0, size: 0 };
  assert(fixUp(libc, 3, failed([0xcc]), registers, ram));
  assertEquals([registers.general.get("rip"), calls], [0x1001, [
    "reading events 0,0,0",
    "injecting an exception 1,3,0",
  ]]);
  assert(fixUp(libc, 3, failed([0x9b, 0xdb]), registers, ram));
  assertEquals([registers.general.get("rip"), calls.length], [0x1002, 2]);
  assert(!fixUp(libc, 3, failed([0x0f, 0x05]), registers, ram));
  assert(!fixUp(libc, 3, new Struct(kvm_run).set("exit_reason", EXIT.SHUTDOWN), registers, ram));
  assertEquals(registers.general.get("rip"), 0x1002);
});

Deno.test("an exit that nobody handles names its reason, even where KVM says nothing else any more", () => {
  const ram = { address: 0n, base: 0, size: 0 };
  const registers = { instruction: () => Uint8Array.of(0x0f, 0x0b), describe: () => "rip 10" };
  const told = (reason: number, field?: Parameters<Struct<typeof kvm_run>["set"]>[0], value = 0) => {
    const run = new Struct(kvm_run).set("exit_reason", reason);
    return describeExit(1, 0, field ? run.set(field, value) : run, registers, ram);
  };
  const ending = "; instruction 0f 0b; rip 10";
  const reasons = [
    [
      told(EXIT.FAIL_ENTRY, "fail_entry_hardware_entry_failure_reason", 0x80000021),
      "FAIL_ENTRY, hardware reason 0x80000021",
    ],
    [told(EXIT.UNKNOWN, "hw_hardware_exit_reason", 7), "UNKNOWN, hardware reason 0x7"],
    [told(EXIT.SYSTEM_EVENT, "system_event_type", SYSTEM_EVENT.CRASH), "SYSTEM_EVENT, event 3"],
    [told(EXIT.DEBUG), "DEBUG"],
  ];
  for (const [said, reason] of reasons) {
    assertEquals(said, `vCPU 1 can not go on: KVM left it with KVM_EXIT_${reason}${ending}`);
  }
  assertEquals(told(99), `vCPU 1 can not go on: KVM left it with exit 99${ending}`);
  const fail = () => {
    throw new SystemError("reading registers", 5);
  };
  assertEquals(
    describeExit(0, 14, new Struct(kvm_run), { instruction: fail, describe: fail }, ram),
    "vCPU 0 can not go on: KVM_RUN failed with EFAULT; instruction unknown (reading registers: EIO); " +
      "registers unknown (reading registers: EIO)",
  );
});

/** A libc whose KVM answers as a test wants it. */
function libcWith({ errno = 0, version = 12, lacks = -1, vm = 0, pvm = false }): ProbedLibc & { closed: number[] } {
  const fail = (action: string, errno: number): never => {
    throw new SystemError(action, errno);
  };
  const closed: number[] = [];
  return {
    closed,
    open: () => errno ? fail("opening /dev/kvm", errno) : 3,
    close: (fd) => void closed.push(fd),
    exists: () => pvm,
    ioctl(action, _fd, request, argument) {
      if (request === KVM.GET_API_VERSION) return version;
      if (request === KVM.CHECK_EXTENSION) return argument === lacks ? 0 : 1;
      return vm ? fail(action, vm) : 4;
    },
  };
}

Deno.test("a probe says in one line why KVM does not work", () => {
  const why = (host: Parameters<typeof libcWith>[0]): string => {
    const found = probeDevice(libcWith(host));
    return found.usable ? "usable" : found.why;
  };
  assertEquals(why({}), "usable");
  assertMatch(why({ errno: ERRNO.ENOENT }), /^there is no \/dev\/kvm: /);
  assertMatch(why({ errno: ERRNO.EACCES }), /^no permission for \/dev\/kvm: add your user to its group/);
  assertMatch(why({ errno: ERRNO.ENODEV }), /^\/dev\/kvm leads to no device/);
  assertEquals(why({ errno: 5 }), "/dev/kvm fails at opening /dev/kvm: EIO");
  assertEquals(why({ version: 11 }), "KVM's interface has version 11, not 12");
  assertEquals(why({ lacks: CAPABILITIES.KVM_CAP_IRQFD }), "KVM lacks KVM_CAP_IRQFD");
  assertMatch(why({ vm: ERRNO.EBUSY }), /in use by another hypervisor/);
});

Deno.test("a probe names the limits of kvm_pvm, and closes what it opened", () => {
  const libc = libcWith({ pvm: true });
  const found = probeDevice(libc);
  assert(found.usable);
  assertMatch(found.note!, /^by kvm_pvm: .*; needs --allow-ffi, which ends Deno's sandbox$/);
  assertEquals(libc.closed, [4, 3]);
});
