/** The attributes of a launch configuration, as users write them in launch.json. */
export interface LaunchAttributes {
  /** NASM source (.asm), a flat binary, a Multiboot kernel or an ELF executable. A path, or a URI in a browser. */
  readonly program: string;
  /** `none`: the bare machine, VT-x included. `hardware`: a guest of the built-in hypervisor. Default: none. */
  readonly virtualization?: 'none' | 'hardware';
  /** Guest memory: `64M`, `1G`, or bytes. Default: 64M. */
  readonly memory?: string | number;
  /** Number of vCPUs, 1 to 8. Default: 1. */
  readonly cpus?: number;
  /** The model of the processors, and features added to it or taken from it. Default: all that Ringside has. */
  readonly cpu?: {
    readonly model?: string;
    /** By the names of CPUID: true adds, false takes away. */
    readonly features?: Readonly<Record<string, boolean>>;
    /** Whether the processors cache paging-structure entries too, as the manual allows. Default: false. */
    readonly pagingStructureCaches?: boolean;
    /** Where the numbers of RDRAND and RDSEED begin. Default: 0. */
    readonly randomSeed?: number;
  };
  readonly devices?: {
    /** A virtio block device: the path of an image, or the size of an empty disk (`64K`). */
    readonly disk?: string | number;
    readonly diskReadOnly?: boolean;
    /** A virtio console. Default: false. */
    readonly console?: boolean;
  };
  /** Stop before the first instruction. Default: false. */
  readonly stopOnEntry?: boolean;
  /** Guest-physical address at which a flat binary or assembled source is loaded: `0x7c00` or a number. */
  readonly loadAddress?: string | number;
  /** Linear address of the first instruction, if it is not the lowest. */
  readonly entryAddress?: string | number;
  /** The CPU mode in which the program starts. Default: by the program. */
  readonly entryMode?: 'real' | 'protected' | 'long';
  /** An ELF file with symbols and lines for a program without. */
  readonly symbolFile?: string;
  /** Kernel command line of a Multiboot kernel. */
  readonly append?: string;
  /** Path of the module of a Multiboot kernel. */
  readonly initrd?: string;
  /** Keep what is needed to step and run backwards. Default: true. */
  readonly history?: boolean;
  /** Do not stop at breakpoints. */
  readonly noDebug?: boolean;
}
