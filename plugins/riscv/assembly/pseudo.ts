// Pseudo-instructions: what stands for one or more others (unprivileged specification 20240411, chapter 36, and the Assembly Programmer's Manual).

/** One a line: the text, with names for operands, and what it becomes. Overloads differ in how many they take. */
const TABLE = `
  nop                        = addi zero, zero, 0
  la rd, symbol              = auipc rd, %hi((symbol) - .); addi rd, rd, %lo((symbol) - (. - 4))
  mv rd, rs                  = addi rd, rs, 0
  not rd, rs                 = xori rd, rs, -1
  neg rd, rs                 = sub rd, zero, rs
  negw rd, rs                = subw rd, zero, rs
  sext.w rd, rs              = addiw rd, rs, 0
  zext.b rd, rs              = andi rd, rs, 0xff
  zext.w rd, rs              = add.uw rd, rs, zero
  seqz rd, rs                = sltiu rd, rs, 1
  snez rd, rs                = sltu rd, zero, rs
  sltz rd, rs                = slt rd, rs, zero
  sgtz rd, rs                = slt rd, zero, rs
  sgt rd, rs, rt             = slt rd, rt, rs
  sgtu rd, rs, rt            = sltu rd, rt, rs

  beqz rs, target            = beq rs, zero, target
  bnez rs, target            = bne rs, zero, target
  blez rs, target            = bge zero, rs, target
  bgez rs, target            = bge rs, zero, target
  bltz rs, target            = blt rs, zero, target
  bgtz rs, target            = blt zero, rs, target
  bgt rs, rt, target         = blt rt, rs, target
  ble rs, rt, target         = bge rt, rs, target
  bgtu rs, rt, target        = bltu rt, rs, target
  bleu rs, rt, target        = bgeu rt, rs, target

  j target                   = jal zero, target
  jal target                 = jal ra, target
  call target                = jal ra, target
  tail target                = jal zero, target
  jr rs                      = jalr zero, 0(rs)
  jalr rs                    = jalr ra, 0(rs)
  jalr rd, rs, offset        = jalr rd, offset(rs)
  ret                        = jalr zero, 0(ra)

  csrr rd, csr               = csrrs rd, csr, zero
  csrw csr, rs               = csrrw zero, csr, rs
  csrs csr, rs               = csrrs zero, csr, rs
  csrc csr, rs               = csrrc zero, csr, rs
  csrwi csr, value           = csrrwi zero, csr, value
  csrsi csr, value           = csrrsi zero, csr, value
  csrci csr, value           = csrrci zero, csr, value
  rdcycle rd                 = csrrs rd, cycle, zero
  rdtime rd                  = csrrs rd, time, zero
  rdinstret rd               = csrrs rd, instret, zero
  frcsr rd                   = csrrs rd, fcsr, zero
  fscsr rs                   = csrrw zero, fcsr, rs

  fence                      = fence iorw, iorw
  fence.tso                  = .word 0x8330000f
  sfence.vma                 = sfence.vma zero, zero
  sfence.vma rs              = sfence.vma rs, zero

  fmv.s fd, fs               = fsgnj.s fd, fs, fs
  fabs.s fd, fs              = fsgnjx.s fd, fs, fs
  fneg.s fd, fs              = fsgnjn.s fd, fs, fs
  fmv.d fd, fs               = fsgnj.d fd, fs, fs
  fabs.d fd, fs              = fsgnjx.d fd, fs, fs
  fneg.d fd, fs              = fsgnjn.d fd, fs, fs
`;

interface Pseudo {
  readonly operands: readonly string[];
  readonly becomes: string;
}

const PSEUDO: ReadonlyMap<string, Pseudo> = new Map(
  TABLE.trim().split(/\n\s*/).map((line): [string, Pseudo] => {
    const [, name, list, becomes] = /^(\S+) *(.*?) += (.*)$/.exec(line)!;
    const operands = list === "" ? [] : list.split(", ");
    return [key(name, operands.length), { operands, becomes }];
  }),
);

function key(name: string, count: number): string {
  return `${name}/${count}`;
}

/** The statements, separated by `;`, that a pseudo-instruction stands for; `undefined` for any other. */
export function expand(name: string, given: readonly string[]): string | undefined {
  const pseudo = PSEUDO.get(key(name, given.length));
  return pseudo?.becomes.replace(/(?<![\w.%])[a-z]+(?![\w.])/g, (word) => given[pseudo.operands.indexOf(word)] ?? word);
}

/** How many operands the pseudo-instructions of a name take. */
export function operandCounts(name: string): number[] {
  return [...PSEUDO].flatMap(([known, { operands }]) => known === key(name, operands.length) ? [operands.length] : []);
}

/** The shortest sequence that GNU as knows for `li`: 32 bits by `lui` and `addiw`, more by shifting them up. */
export function loadImmediate(rd: string, value: bigint): string[] {
  if (value === BigInt.asIntN(12, value)) return [`addi ${rd}, zero, ${value}`];
  const low = BigInt.asIntN(12, value);
  const rest = value - low;
  if (value === BigInt.asIntN(32, value)) {
    const upper = `lui ${rd}, ${rest >> 12n & 0xf_ffffn}`;
    return low ? [upper, `addiw ${rd}, ${rd}, ${low}`] : [upper];
  }
  let shift = 12n;
  while (!(rest >> shift & 1n)) shift++;
  const upper = loadImmediate(rd, BigInt.asIntN(64, rest) >> shift);
  const shifted = [...upper, `slli ${rd}, ${rd}, ${shift}`];
  return low ? [...shifted, `addi ${rd}, ${rd}, ${low}`] : shifted;
}
