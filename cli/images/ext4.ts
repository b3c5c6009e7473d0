// Makes an empty ext4 file system of one block group, with a journal (Linux, Documentation/filesystems/ext4/).

const BLOCK = 4096;
const SECTOR = 512;
const INODE = 256;
const BLOCKS_PER_GROUP = BLOCK * 8;
const JOURNAL_BLOCKS = 1024;
const INODES = 4096;

/** Inode numbers that the format fixes. */
const NUMBER = { root: 2, journal: 8, lostAndFound: 11 } as const;

/** What stands in which block. */
const PLACE = (() => {
  const inodes = 4;
  const root = inodes + INODES * INODE / BLOCK;
  const lostAndFound = root + 1;
  const journal = lostAndFound + 1;
  return { superblock: 0, group: 1, blockMap: 2, inodeMap: 3, inodes, root, lostAndFound, journal } as const;
})();

const USED_BLOCKS = PLACE.journal + JOURNAL_BLOCKS;
const FEATURES = { hasJournal: 4, fileType: 2, extents: 0x40, sparseSuper: 1, largeFile: 2, extraInodeSize: 0x40 };
const MODE = { folder: 0o040755, private: 0o040700, journal: 0o100600 };
const EXTENTS_FLAG = 0x80000;
const EXTRA_INODE_SIZE = 32;

type Value = readonly [offset: number, value: number | Uint8Array];

/** A record of 16-bit or 32-bit numbers, as `bits` says, and of bytes. */
function put(record: Uint8Array, bits: 16 | 32, values: readonly Value[], littleEndian = true): void {
  const view = new DataView(record.buffer, record.byteOffset, record.length);
  for (const [offset, value] of values) {
    if (typeof value !== "number") record.set(value, offset);
    else if (bits === 16) view.setUint16(offset, value, littleEndian);
    else view.setUint32(offset, value, littleEndian);
  }
}

/**
 * The blocks of an empty file system on a disk of `size` bytes, by their offset; all others are zeros.
 * Throws a RangeError if the size is not one that a single block group can have.
 */
export function ext4(size: number, label: string, uuid: Uint8Array): Map<number, Uint8Array<ArrayBuffer>> {
  const blocks = Math.floor(size / BLOCK);
  if (!(blocks > USED_BLOCKS && blocks <= BLOCKS_PER_GROUP)) {
    const [least, most] = [(USED_BLOCKS + 1) * BLOCK, BLOCKS_PER_GROUP * BLOCK];
    throw new RangeError(`Cannot make an ext4 disk: wanted ${least} to ${most} bytes, got ${size}`);
  }
  const inodes = inodeTable();
  const parts: [block: number, bytes: Uint8Array<ArrayBuffer>][] = [
    [PLACE.superblock, superblock(blocks, label, uuid)],
    [PLACE.group, groupDescriptor(blocks)],
    [PLACE.blockMap, bitmap(USED_BLOCKS, blocks)],
    [PLACE.inodeMap, bitmap(NUMBER.lostAndFound, INODES)],
    [PLACE.inodes, inodes],
    [PLACE.root, folder(NUMBER.root, NUMBER.root, ["lost+found", NUMBER.lostAndFound])],
    [PLACE.lostAndFound, folder(NUMBER.lostAndFound, NUMBER.root)],
    [PLACE.journal, journalSuperblock(uuid)],
  ];
  return new Map(parts.map(([block, bytes]) => [block * BLOCK, bytes]));
}

function superblock(blocks: number, label: string, uuid: Uint8Array): Uint8Array<ArrayBuffer> {
  const block = new Uint8Array(BLOCK);
  const record = block.subarray(1024, 2048);
  put(record, 32, [
    [0x00, INODES],
    [0x04, blocks],
    [0x0c, blocks - USED_BLOCKS],
    [0x10, INODES - NUMBER.lostAndFound],
    [0x18, Math.log2(BLOCK / 1024)],
    [0x1c, Math.log2(BLOCK / 1024)],
    [0x20, BLOCKS_PER_GROUP],
    [0x24, BLOCKS_PER_GROUP],
    [0x28, INODES],
    [0x4c, 1], // revision: inodes of any size
    [0x54, NUMBER.lostAndFound], // the first that is not reserved
    [0x5c, FEATURES.hasJournal],
    [0x60, FEATURES.fileType | FEATURES.extents],
    [0x64, FEATURES.sparseSuper | FEATURES.largeFile | FEATURES.extraInodeSize],
    [0x68, uuid],
    [0x78, new TextEncoder().encode(label).subarray(0, 16)],
    [0xe0, NUMBER.journal],
  ]);
  put(record, 16, [
    [0x36, 0xffff], // mounts before a check: no limit
    [0x38, 0xef53], // magic
    [0x3a, 1], // clean
    [0x3c, 1], // on errors: go on
    [0x58, INODE],
    [0x15c, EXTRA_INODE_SIZE],
    [0x15e, EXTRA_INODE_SIZE],
  ]);
  return block;
}

function groupDescriptor(blocks: number): Uint8Array<ArrayBuffer> {
  const block = new Uint8Array(BLOCK);
  put(block, 32, [[0, PLACE.blockMap], [4, PLACE.inodeMap], [8, PLACE.inodes]]);
  put(block, 16, [[12, blocks - USED_BLOCKS], [14, INODES - NUMBER.lostAndFound], [16, 2]]);
  return block;
}

/** The first `used` of `count` are taken, and what the block has more bits for does not exist. */
function bitmap(used: number, count: number): Uint8Array<ArrayBuffer> {
  const block = new Uint8Array(BLOCK);
  for (let bit = 0; bit < BLOCK * 8; bit++) {
    if (bit < used || bit >= count) block[bit >> 3] |= 1 << (bit & 7);
  }
  return block;
}

/** As much of the inode table as is not zero. */
function inodeTable(): Uint8Array<ArrayBuffer> {
  const table = new Uint8Array(BLOCK);
  const inode = (number: number, mode: number, links: number, firstBlock: number, blocks: number) => {
    const record = table.subarray((number - 1) * INODE, number * INODE);
    put(record, 32, [
      [0x04, blocks * BLOCK],
      [0x1c, blocks * BLOCK / SECTOR],
      [0x20, EXTENTS_FLAG],
      [0x3c, firstBlock],
    ]);
    // The extent tree at 0x28: a header of magic, entries and room for four, then one extent.
    put(record, 16, [[0x00, mode], [0x1a, links], [0x28, 0xf30a], [0x2a, 1], [0x2c, 4], [0x38, blocks], [
      0x80,
      EXTRA_INODE_SIZE,
    ]]);
  };
  inode(NUMBER.root, MODE.folder, 3, PLACE.root, 1);
  inode(NUMBER.journal, MODE.journal, 1, PLACE.journal, JOURNAL_BLOCKS);
  inode(NUMBER.lostAndFound, MODE.private, 2, PLACE.lostAndFound, 1);
  return table;
}

/** A folder's block: itself, its parent, and perhaps another folder; the last entry reaches to the end. */
function folder(self: number, parent: number, ...others: readonly [string, number][]): Uint8Array<ArrayBuffer> {
  const FOLDER_TYPE = 2;
  const block = new Uint8Array(BLOCK);
  const entries: [string, number][] = [[".", self], ["..", parent], ...others];
  let at = 0;
  entries.forEach(([name, inode], index) => {
    const bytes = new TextEncoder().encode(name);
    const length = index === entries.length - 1 ? BLOCK - at : 8 + Math.ceil(bytes.length / 4) * 4;
    put(block, 32, [[at, inode], [at + 8, bytes]]);
    put(block, 16, [[at + 4, length]]);
    block[at + 6] = bytes.length;
    block[at + 7] = FOLDER_TYPE;
    at += length;
  });
  return block;
}

/** An empty journal (jbd2), whose numbers are big-endian. */
function journalSuperblock(uuid: Uint8Array): Uint8Array<ArrayBuffer> {
  const block = new Uint8Array(BLOCK);
  const [magic, version2] = [0xc03b3998, 4];
  put(block, 32, [
    [0x00, magic],
    [0x04, version2],
    [0x0c, BLOCK],
    [0x10, JOURNAL_BLOCKS],
    [0x14, 1], // the first block of the log
    [0x18, 1], // the first sequence number
    [0x30, uuid],
    [0x40, 1], // users
  ], false);
  return block;
}
