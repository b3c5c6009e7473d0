// A bare-metal guest in RISC-V assembly: serial port, timer interrupts, one sector of a virtio disk (virtio 1.2, 4.2).

/** Where the board puts what the program uses. */
const UART = 0x1000_0000, DISK = 0x1000_1000;

/** The program. It runs in S-mode; what it asks of the firmware below, by `ecall`, is the power switch alone. */
export const HELLO = `
        .equ UART, ${UART}
        .equ DISK, ${DISK}
        .equ TENTH, 1000000             # of a second, in ticks of the timer

        la      sp, stack
        la      a0, greeting
        call    print

        # Three timer interrupts, a tenth of a second apart.
        la      t0, on_timer
        csrw    stvec, t0
        call    set_timer
        li      t0, 1 << 5              # sie.STIE
        csrs    sie, t0
        csrsi   sstatus, 2              # sstatus.SIE
        li      s0, 0
wait:   wfi
ticked: li      t0, 3
        bltu    s0, t0, wait
        csrci   sstatus, 2

        # The first sector of the disk: negotiate, hand over a queue, ask, wait for the answer.
        li      s1, DISK
        sw      zero, 0x70(s1)          # Status: reset
        li      t0, 1 | 2
        sw      t0, 0x70(s1)            # ACKNOWLEDGE, DRIVER
        li      t1, 1
        sw      t1, 0x24(s1)            # DriverFeaturesSel: bits 32 to 63
        sw      t1, 0x20(s1)            # VERSION_1
        li      t0, 1 | 2 | 8
        sw      t0, 0x70(s1)            # FEATURES_OK
        sw      zero, 0x30(s1)          # QueueSel
        li      t0, 4
        sw      t0, 0x38(s1)            # QueueNum
        la      t0, chain
        sw      t0, 0x80(s1)            # QueueDesc
        la      t0, avail
        sw      t0, 0x90(s1)            # QueueDriver
        la      t0, used
        sw      t0, 0xa0(s1)            # QueueDevice
        sw      t1, 0x44(s1)            # QueueReady
        li      t0, 1 | 2 | 4 | 8
        sw      t0, 0x70(s1)            # DRIVER_OK
        la      t0, avail
        sh      t1, 2(t0)               # one chain is there
        fence
        sw      zero, 0x50(s1)          # QueueNotify
        la      t0, used
1:      lhu     t1, 2(t0)
        beqz    t1, 1b
        la      a0, found
        call    print
        la      a0, sector
        call    print

        li      a7, 0x53525354          # SBI: system reset
        li      a6, 0
        li      a0, 0                   # shut down
        li      a1, 0
        ecall

# Prints the text at a0, up to a zero.
print:  li      t0, UART
1:      lbu     t1, 0(a0)
        beqz    t1, 3f
2:      lbu     t2, 5(t0)               # LSR
        andi    t2, t2, 0x20            # may the next byte come?
        beqz    t2, 2b
        sb      t1, 0(t0)
        addi    a0, a0, 1
        j       1b
3:      ret

set_timer:
        rdtime  t0
        li      t1, TENTH
        add     t0, t0, t1
        csrw    stimecmp, t0
        ret

# The only interrupt there is, taken while the program waits for it: no register needs to be kept.
        .balign 4
on_timer:
        addi    s0, s0, 1
        call    set_timer
        la      a0, tick
        call    print
        la      t0, ticked
        csrw    sepc, t0
        sret

greeting: .asciz "Hello from a RISC-V guest!\\n"
tick:   .asciz "tick\\n"
found:  .asciz "The disk says: "

        .balign 16                      # address, length, flags (1 next, 2 write), next
chain:  .dword  request; .word  16; .half 1, 1
        .dword  sector;  .word 512; .half 3, 2
        .dword  status;  .word   1; .half 2, 0
        .zero   16
avail:  .half   0, 0, 0, 0, 0, 0
        .balign 4
used:   .zero   40
        .balign 8
request: .word  0, 0; .dword 0          # read sector 0
status: .byte   0xff
sector: .zero   513
        .balign 16
        .zero   1024
stack:
`;
