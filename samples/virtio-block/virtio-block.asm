; virtio-block: a driver for a virtual disk, from discovery to the last sector.
;
; A virtio device is a few registers and a queue in memory. The driver puts requests into the queue, writes one
; register to say so, and the device answers in the same queue. No port, no sector register, no transfer loop: that is
; why a hypervisor has to leave the guest only once for many requests.
;
; This driver
;
;   1. looks for devices in the 24 places where there may be one,
;   2. agrees with the disk on features (VIRTIO_F_VERSION_1, nothing else),
;   3. gives it a virtqueue of eight entries,
;   4. writes a sector, reads it back and compares; asks for a sector that does not exist;
;   5. if there is a virtio console, writes a line to that as well.
;
; A request to the disk is a chain of three descriptors:
;
;     descriptor   0: request header  ─►  1: data, 512 bytes            ─►  2: status, one byte
;     device       reads                  reads (OUT) or writes (IN)        writes
;
; Run it with "virtualization": "hardware": it is then a guest of the built-in hypervisor. Each access to a device
; register is an EPT violation, because the hypervisor maps no page there; the call stack shows how it is handled, up
; to the device model and back. The Virtqueues view shows the rings that the labels below name.
;
; Virtual I/O Device (VIRTIO) Version 1.2: "Device Initialization", "Split Virtqueues", "Virtio Over MMIO".

%include "../include/long-mode.inc"
%include "../include/console.inc"
%include "virtio.inc"

QUEUE_SIZE      equ 8
TEST_SECTOR     equ 5
PATIENCE        equ 10000000            ; how often to look for an answer before giving up

; print_number TEXT, REGISTER: prints a text, the register in hexadecimal, and ends the line.
%macro print_number 2
        push    %2
        say     %1
        pop     rax
        call    print_line
%endmacro

; ─────────────────────────────────────────────────────────────── the program

main:
        call    find_devices
        mov     rbx, [block_device]
        test    rbx, rbx
        jz      .no_disk
        say     'A virtio disk', 10
        call    start_block_device
        call    write_and_read_back
        call    read_past_the_end
        mov     rbx, [console_device]
        test    rbx, rbx
        jz      .no_console
        say     'A virtio console', 10
        call    start_console_device
        call    write_to_console
        exit    0
.no_console:
        say     'No virtio console', 10
        exit    0
.no_disk:
        say     'No virtio disk', 10
        exit    1

; Looks into every place, and notes the first disk and the first console.
find_devices:
        mov     ebx, VIRTIO_MMIO_BASE
        mov     r12d, VIRTIO_MMIO_SLOTS
.next_slot:
        cmp     dword [rbx + MagicValue], VIRTIO_MAGIC
        jne     .nothing_here
        mov     eax, [rbx + DeviceID]
        cmp     eax, DEVICE_ID_BLOCK
        je      .block
        cmp     eax, DEVICE_ID_CONSOLE
        jne     .nothing_here
        mov     [console_device], rbx
        jmp     .nothing_here
.block:
        mov     [block_device], rbx
.nothing_here:
        add     rbx, VIRTIO_MMIO_STRIDE
        dec     r12d
        jnz     .next_slot
        ret

; RBX, in all that follows: the device's registers.

; Reset, ACKNOWLEDGE, DRIVER, features, FEATURES_OK: the first half of "Device Initialization".
negotiate:
        cmp     dword [rbx + Version], 2
        jne     .legacy
        mov     dword [rbx + Status], 0         ; reset
        mov     dword [rbx + Status], ACKNOWLEDGE
        mov     dword [rbx + Status], ACKNOWLEDGE + DRIVER

        ; VERSION_1 is what we need, and all we know how to use: word 0 of the features stays empty
        mov     dword [rbx + DeviceFeaturesSel], VIRTIO_F_VERSION_1_SEL
        test    dword [rbx + DeviceFeatures], VIRTIO_F_VERSION_1
        jz      .legacy
        mov     dword [rbx + DriverFeaturesSel], 0
        mov     dword [rbx + DriverFeatures], 0
        mov     dword [rbx + DriverFeaturesSel], VIRTIO_F_VERSION_1_SEL
        mov     dword [rbx + DriverFeatures], VIRTIO_F_VERSION_1
        mov     dword [rbx + Status], ACKNOWLEDGE + DRIVER + FEATURES_OK
        test    dword [rbx + Status], FEATURES_OK
        jz      .refused
        ret
.legacy:
        say     'A legacy device: this driver needs VIRTIO_F_VERSION_1', 10
        exit    1
.refused:
        say     'The device refuses our features', 10
        exit    1

; Gives queue ECX the memory at RDX, laid out as struc `virtqueue`.
give_queue:
        mov     [rbx + QueueSel], ecx
        cmp     dword [rbx + QueueSizeMax], QUEUE_SIZE
        jb      .too_small
        mov     dword [rbx + QueueSize], QUEUE_SIZE
        lea     eax, [rdx + virtqueue.descriptors]
        mov     [rbx + QueueDescLow], eax
        mov     dword [rbx + QueueDescHigh], 0
        lea     eax, [rdx + virtqueue.available]
        mov     [rbx + QueueDriverLow], eax
        mov     dword [rbx + QueueDriverHigh], 0
        lea     eax, [rdx + virtqueue.used]
        mov     [rbx + QueueDeviceLow], eax
        mov     dword [rbx + QueueDeviceHigh], 0
        mov     dword [rbx + QueueReady], 1
        ret
.too_small:
        say     'The queue is smaller than we need', 10
        exit    1

start_block_device:
        call    negotiate
        xor     ecx, ecx                ; requestq, the only one
        mov     edx, block_queue
        call    give_queue
        mov     dword [rbx + Status], ACKNOWLEDGE + DRIVER + FEATURES_OK + DRIVER_OK
        mov     ecx, [rbx + Config]     ; capacity, in sectors; a 64-bit field may be read as two halves
        mov     edx, [rbx + Config + 4]
        shl     rdx, 32
        or      rcx, rdx
        mov     [capacity], rcx
        print_number 'Capacity in sectors    ', rcx
        ret

; ─────────────────────────────────────────────────────────────── requests to the disk

write_and_read_back:
        mov     edi, data
        mov     ecx, SECTOR_SIZE
        xor     eax, eax
.fill:
        stosb
        add     al, 7                   ; some pattern
        loop    .fill
        mov     eax, VIRTIO_BLK_T_OUT
        mov     edx, TEST_SECTOR
        call    block_request           ; STOP HERE: then step in, to QueueNotify
        print_number 'Write sector 5, status ', rax

        mov     edi, data               ; forget it, so that we cannot deceive ourselves
        mov     ecx, SECTOR_SIZE
        xor     eax, eax
        rep     stosb
        mov     eax, VIRTIO_BLK_T_IN
        mov     edx, TEST_SECTOR
        call    block_request
        print_number 'Read sector 5, status  ', rax
        mov     rcx, [data]
        print_number 'Its first eight bytes  ', rcx

        mov     esi, data
        mov     ecx, SECTOR_SIZE
        xor     edx, edx
.compare:
        lodsb
        cmp     al, dl
        jne     .different
        add     dl, 7
        loop    .compare
        say     'All 512 bytes are as they were written', 10
        ret
.different:
        say     'The data has changed', 10
        exit    1

; A device answers even a request that makes no sense: with the status IOERR.
read_past_the_end:
        mov     eax, VIRTIO_BLK_T_IN
        mov     rdx, [capacity]
        call    block_request
        print_number 'Read past the end      ', rax
        ret

; One request: EAX = VIRTIO_BLK_T_IN or _OUT, RDX = sector. Returns the status in RAX.
block_request:
        mov     [request + virtio_blk_req.type], eax
        mov     [request + virtio_blk_req.sector], rdx
        mov     byte [status], 0FFh     ; a value that no device writes

        mov     edi, block_queue + virtqueue.descriptors
        mov     qword [rdi + virtq_desc.addr], request
        mov     dword [rdi + virtq_desc.len], virtio_blk_req_size
        mov     word [rdi + virtq_desc.flags], VIRTQ_DESC_F_NEXT
        mov     word [rdi + virtq_desc.next], 1

        add     edi, virtq_desc_size
        mov     ecx, VIRTQ_DESC_F_NEXT
        cmp     eax, VIRTIO_BLK_T_IN
        jne     .data
        or      ecx, VIRTQ_DESC_F_WRITE ; from the disk: the device writes the data
.data:
        mov     qword [rdi + virtq_desc.addr], data
        mov     dword [rdi + virtq_desc.len], SECTOR_SIZE
        mov     [rdi + virtq_desc.flags], cx
        mov     word [rdi + virtq_desc.next], 2

        add     edi, virtq_desc_size
        mov     qword [rdi + virtq_desc.addr], status
        mov     dword [rdi + virtq_desc.len], 1
        mov     word [rdi + virtq_desc.flags], VIRTQ_DESC_F_WRITE
        mov     word [rdi + virtq_desc.next], 0

        xor     ecx, ecx                ; the queue
        mov     edx, block_queue
        call    submit
        movzx   eax, byte [status]
        ret

; Makes the chain that begins at descriptor 0 of queue ECX, at RDX, available; notifies the device; waits for it.
submit:
        movzx   eax, word [rdx + virtqueue.available + virtq_avail.idx]
        mov     esi, eax
        and     esi, QUEUE_SIZE - 1
        mov     word [rdx + virtqueue.available + virtq_avail.ring + rsi * 2], 0
        inc     eax
        mfence                          ; the device must not see the new index before the ring entry
        mov     [rdx + virtqueue.available + virtq_avail.idx], ax
        mfence
        mov     [rbx + QueueNotify], ecx        ; STOP HERE: the Virtqueues view has a chain in flight

        mov     ecx, PATIENCE
.wait:
        cmp     [rdx + virtqueue.used + virtq_used.idx], ax
        je      .done
        pause
        loop    .wait
        say     'The device does not answer', 10
        exit    1
.done:
        mov     eax, [rbx + InterruptStatus]    ; interrupts are off, but the device has raised its line
        mov     [rbx + InterruptACK], eax
        ret

; ─────────────────────────────────────────────────────────────── the console

; Queue 0 receives, queue 1 transmits. We only transmit.
start_console_device:
        call    negotiate
        mov     ecx, 1
        mov     edx, console_queue
        call    give_queue
        mov     dword [rbx + Status], ACKNOWLEDGE + DRIVER + FEATURES_OK + DRIVER_OK
        ret

; The bytes to print are the whole request: one descriptor for the device to read.
write_to_console:
        mov     edi, console_queue + virtqueue.descriptors
        mov     qword [rdi + virtq_desc.addr], console_text
        mov     dword [rdi + virtq_desc.len], console_text_size
        mov     word [rdi + virtq_desc.flags], 0
        mov     word [rdi + virtq_desc.next], 0
        mov     ecx, 1
        mov     edx, console_queue
        jmp     submit

; Prints RAX and ends the line.
print_line:
        call    print_hex
        mov     al, 10
        out     CONSOLE_PORT, al
        ret

        define_print print
        define_print_hex print_hex, rax, 16

; ─────────────────────────────────────────────────────────────── data

; The memory of one virtqueue. The device wants the descriptors at a multiple of 16, the available ring at one of 2,
; the used ring at one of 4.
struc virtqueue
.descriptors:   resb QUEUE_SIZE * virtq_desc_size
.available:     resb virtq_avail_size + QUEUE_SIZE * 2 + 2
                resb 2                  ; to a multiple of 4
.used:          resb virtq_used_size + QUEUE_SIZE * 8 + 2
endstruc

        section .data
console_text:   db 'This line came through the virtio console', 10
console_text_size equ $ - console_text

        section .bss
block_queue:    resb virtqueue_size
                alignb 16
console_queue:  resb virtqueue_size
                alignb 16
request:        resb virtio_blk_req_size
data:           resb SECTOR_SIZE
status:         resb 1
                alignb 8
block_device:   resq 1                  ; addresses of registers, or 0
console_device: resq 1
capacity:       resq 1
bss_end:
