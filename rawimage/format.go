package rawimage

import (
	"io"

	"github.com/fastimage/fastimage/internal/magic"
)

// Format is what a file's content says it is. Its text is the usual short name,
// as in qemu-img where qemu-img knows the format.
type Format string

// The formats that DetectFormat tells apart.
const (
	FormatRaw Format = magic.Raw // none of the others

	// Disk images.
	FormatQCOW          Format = "qcow" // version 1
	FormatQCOW2         Format = "qcow2"
	FormatQED           Format = "qed"
	FormatVMDK          Format = "vmdk"
	FormatSESparse      Format = "sesparse" // a space-efficient VMDK extent of an ESX host
	FormatVHD           Format = "vhd"
	FormatVHDX          Format = "vhdx"
	FormatVDI           Format = "vdi"
	FormatOVA           Format = "ova" // any tar archive: an OVA is one with a disk in it
	FormatZVHD          Format = "zvhd"
	FormatZVHD2         Format = "zvhd2"
	FormatParallels     Format = "parallels"
	FormatBochs         Format = "bochs"
	FormatCloop         Format = "cloop"
	FormatDMG           Format = "dmg"
	FormatEWF           Format = "ewf" // EnCase evidence files: E01
	FormatAFF           Format = "aff"
	FormatWIM           Format = "wim"
	FormatAndroidSparse Format = "android-sparse"
	FormatSparseImage   Format = "sparseimage" // of macOS
	FormatPartclone     Format = "partclone"
	FormatISO           Format = "iso" // ISO 9660 without a partition table
	FormatLUKS          Format = "luks"
	FormatBitLocker     Format = "bitlocker"

	// Compressed files.
	FormatGzip      Format = "gzip"
	FormatXZ        Format = "xz"
	FormatZstd      Format = "zstd"
	FormatBzip2     Format = "bzip2"
	FormatLZ4       Format = "lz4"
	FormatLZ4Legacy Format = "lz4-legacy"
	FormatLZMA      Format = "lzma"
	FormatLZOP      Format = "lzop"
	FormatLzip      Format = "lzip"
	FormatCompress  Format = "compress" // .Z

	// Archives and packages.
	FormatZip  Format = "zip"
	Format7z   Format = "7z"
	FormatRAR  Format = "rar"
	FormatCAB  Format = "cab"
	FormatXAR  Format = "xar"
	FormatRPM  Format = "rpm"
	FormatAR   Format = "ar" // Debian packages
	FormatCPIO Format = "cpio"

	// What holds no disk.
	FormatOVF   Format = "ovf"  // describes a machine whose disks are in other files
	FormatVBox  Format = "vbox" // the same, of VirtualBox
	FormatHTML  Format = "html"
	FormatXML   Format = "xml"
	FormatText  Format = "text"
	FormatELF   Format = "elf"
	FormatMachO Format = "macho"
	FormatPDF   Format = "pdf"
	FormatPNG   Format = "png"
	FormatJPEG  Format = "jpeg"
)

// DetectFormat tells a format by its magic numbers: head is the start of the file
// (36 KiB, or all there are; with less, some formats are not recognized), tail
// its last 512 bytes, where some formats have their only mark; nil if they are
// not known. What has no magic number is FormatRaw.
func DetectFormat(head, tail []byte) Format { return Format(magic.Detect(head, tail)) }

// Detect is DetectFormat for the first size bytes of ra. It also looks past the
// skippable frames with which a zstd or lz4 file may start.
func Detect(ra io.ReaderAt, size int64) (Format, error) {
	f, err := magic.DetectAt(ra, size)
	return Format(f), err
}

// Description is the format's name in a sentence.
func (f Format) Description() string {
	if d, ok := descriptions[f]; ok {
		return d
	}
	return string(f)
}

var descriptions = map[Format]string{
	FormatRaw: "a RAW image", FormatQCOW: "a QEMU image (qcow version 1)", FormatQCOW2: "a QEMU image (qcow2)",
	FormatQED: "a QEMU image (qed)", FormatVMDK: "a VMware image (vmdk)",
	FormatSESparse: "an extent of a VMware snapshot (SE sparse)", FormatVHD: "a Hyper-V image (vhd)",
	FormatVHDX: "a Hyper-V image (vhdx)", FormatVDI: "a VirtualBox image (vdi)", FormatOVA: "an archive (tar, as an OVA is)",
	FormatZVHD: "a compressed cloud image (zvhd)", FormatZVHD2: "a compressed cloud image (zvhd2)",
	FormatParallels: "a Parallels image", FormatBochs: "a Bochs image", FormatCloop: "a cloop image",
	FormatDMG: "an Apple disk image (dmg)", FormatEWF: "an EnCase image (E01)", FormatAFF: "an AFF image",
	FormatWIM: "a Windows image file (wim), which holds files and no disk", FormatAndroidSparse: "an Android sparse image",
	FormatSparseImage: "an Apple sparse image", FormatPartclone: "a partclone image",
	FormatISO:  "an installation medium (ISO 9660), which is not a disk with an installed system",
	FormatLUKS: "an encrypted volume (LUKS)", FormatBitLocker: "an encrypted volume (BitLocker)",
	FormatGzip: "compressed (gzip)", FormatXZ: "compressed (xz)", FormatZstd: "compressed (zstd)",
	FormatBzip2: "compressed (bzip2)", FormatLZ4: "compressed (lz4)", FormatLZ4Legacy: "compressed (lz4, legacy frames)",
	FormatLZMA: "compressed (lzma)", FormatLZOP: "compressed (lzop)", FormatLzip: "compressed (lzip)",
	FormatCompress: "compressed (compress)", FormatZip: "a ZIP archive", Format7z: "a 7z archive",
	FormatRAR: "a RAR archive", FormatCAB: "a cabinet archive", FormatXAR: "a XAR archive", FormatRPM: "an RPM package",
	FormatAR: "an ar archive (Debian packages are)", FormatCPIO: "a cpio archive",
	FormatOVF:  "an OVF descriptor, which names its disks in other files",
	FormatVBox: "a VirtualBox machine description, which names its disks in other files",
	FormatHTML: "a web page", FormatXML: "an XML document", FormatText: "a text file",
	FormatELF: "an ELF program", FormatMachO: "a macOS program", FormatPDF: "a PDF document",
	FormatPNG: "a picture (png)", FormatJPEG: "a picture (jpeg)",
}

// Command returns the command line, as arguments, that turns the file input of
// this format into one that is read, output; nil if no common tool does. With
// stdout the command writes to its standard output, which goes into output.
// Whoever shows it quotes the arguments for the shell.
func (f Format) Command(input, output string) (args []string, stdout bool) {
	c, ok := commands[f]
	if !ok {
		return nil, false
	}
	stdout = true
	for _, a := range c {
		switch a {
		case argInput:
			a = input
		case argOutput:
			a, stdout = output, false
		case argUnpack:
			stdout = false
			continue
		}
		args = append(args, a)
	}
	return args, stdout
}

// What stands for a file in commands. With argUnpack the tool names what it
// writes itself.
const (
	argInput  = "\x00in"
	argOutput = "\x00out"
	argUnpack = "\x00unpack"
)

func convert(format Format) []string {
	return []string{"qemu-img", "convert", "-f", string(format), "-O", "raw", argInput, argOutput}
}

var commands = map[Format][]string{
	FormatQCOW: convert("qcow"), FormatQCOW2: convert("qcow2"), FormatQED: convert("qed"), FormatVMDK: convert("vmdk"),
	FormatVHD: convert("vpc"), FormatVHDX: convert("vhdx"), FormatVDI: convert("vdi"),
	FormatParallels: convert("parallels"), FormatBochs: convert("bochs"), FormatCloop: convert("cloop"),
	FormatDMG:           convert("dmg"),
	FormatEWF:           {"ewfexport", "-f", "raw", "-u", "-t", argOutput, argInput},
	FormatAFF:           {"affconvert", "-r", argInput, argUnpack},
	FormatAndroidSparse: {"simg2img", argInput, argOutput},
	FormatSparseImage:   {"hdiutil", "convert", argInput, "-format", "UDTO", "-o", argOutput},
	FormatPartclone:     {"partclone.restore", "-C", "-s", argInput, "-O", argOutput},

	FormatOVA:  {"tar", "-xf", argInput, argUnpack},
	FormatGzip: {"gzip", "-dc", argInput}, FormatXZ: {"xz", "-dc", argInput}, FormatZstd: {"zstd", "-dc", argInput},
	FormatBzip2: {"bzip2", "-dc", argInput}, FormatLZ4: {"lz4", "-dc", argInput}, FormatLZ4Legacy: {"lz4", "-dc", argInput},
	FormatLZMA: {"xz", "--format=lzma", "-dc", argInput}, FormatLZOP: {"lzop", "-dc", argInput},
	FormatLzip: {"lzip", "-dc", argInput}, FormatCompress: {"gzip", "-dc", argInput},
	FormatZip: {"unzip", argInput, argUnpack}, Format7z: {"7z", "x", argInput, argUnpack},
	FormatRAR: {"unrar", "x", argInput, argUnpack}, FormatCAB: {"cabextract", argInput, argUnpack},
	FormatXAR: {"xar", "-xf", argInput, argUnpack}, FormatCPIO: {"cpio", "-id", "-I", argInput, argUnpack},
	FormatRPM: {"rpm2archive", argInput, argUnpack}, FormatAR: {"ar", "x", argInput, argUnpack},
}
