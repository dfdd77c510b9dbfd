package rawimage

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// Format is what a file's magic bytes say it is. Its text is the usual short
// name, as qemu-img has it where qemu-img knows the format.
type Format string

// The formats that DetectFormat tells apart.
const (
	FormatRaw   Format = "raw" // none of the others
	FormatQCOW  Format = "qcow"
	FormatQCOW2 Format = "qcow2"
	FormatQED   Format = "qed"
	FormatVMDK  Format = "vmdk"
	FormatVHD   Format = "vhd"
	FormatVHDX  Format = "vhdx"
	FormatVDI   Format = "vdi"
	FormatOVA   Format = "ova" // any tar archive: an OVA is one with a VMDK in it
	FormatZVHD  Format = "zvhd"
	FormatZVHD2 Format = "zvhd2"
	FormatGzip  Format = "gzip"
	FormatXZ    Format = "xz"
	FormatZstd  Format = "zstd"
	FormatBzip2 Format = "bzip2"
)

const (
	magicHead = 4096 // bytes from the start that DetectFormat looks at
	magicTail = 512  // and from the end

	tarMagicAt = 257
	vmdkText   = "# Disk DescriptorFile"
	vhdCookie  = "conectix"
	vdiMagicAt = 64
)

// magics are in order of search. Two of them share a beginning (qcow and
// qcow2), told apart by the big-endian version that follows.
var magics = []struct {
	format Format
	off    int
	magic  string
}{
	{FormatQCOW, 0, "QFI\xfb\x00\x00\x00\x01"},
	{FormatQCOW2, 0, "QFI\xfb"},
	{FormatQED, 0, "QED\x00"},
	{FormatVMDK, 0, "KDMV"},
	{FormatVMDK, 0, "COWD"},
	{FormatVHDX, 0, "vhdxfile"},
	{FormatVHD, 0, vhdCookie},
	{FormatVDI, vdiMagicAt, "\x7f\x10\xda\xbe"},
	{FormatZVHD2, 0, "z2strm"},
	{FormatZVHD, 0, "stream\x00\x00"},
	{FormatGzip, 0, "\x1f\x8b\x08"},
	{FormatXZ, 0, "\xfd7zXZ\x00"},
	{FormatZstd, 0, "\x28\xb5\x2f\xfd"},
	{FormatBzip2, 0, "BZh"},
}

// DetectFormat tells a format by its magic bytes: head is the start of the file
// (4096 bytes, or all there are), tail its last 512 bytes, where a fixed VHD has
// its only mark; nil if they are not known. What has no magic is FormatRaw.
func DetectFormat(head, tail []byte) Format {
	for _, m := range magics {
		if len(head) < m.off+len(m.magic) || string(head[m.off:m.off+len(m.magic)]) != m.magic {
			continue
		}
		if m.format == FormatBzip2 && !isBzip2(head) {
			continue
		}
		return m.format
	}
	if isVMDKDescriptor(head) {
		return FormatVMDK
	}
	if isTar(head) {
		return FormatOVA
	}
	// The footer of a fixed VHD is the last 512 bytes; Virtual PC before 2004
	// wrote 511.
	for _, cut := range []int{512, 511} {
		if len(tail) >= cut && bytes.HasPrefix(tail[len(tail)-cut:], []byte(vhdCookie)) {
			return FormatVHD
		}
	}
	return FormatRaw
}

// isBzip2 wants the level digit and the first block's magic too: "BZh" alone is
// too short to refuse a disk for.
func isBzip2(head []byte) bool {
	return len(head) >= 10 && head[3] >= '1' && head[3] <= '9' && string(head[4:10]) == "1AY&SY"
}

// isTar wants the checksum of the first header too: the magic stands where a
// boot sector has its code.
func isTar(head []byte) bool {
	const size, sumAt, sumEnd = 512, 148, 156
	if len(head) < size || !bytes.HasPrefix(head[tarMagicAt:], []byte("ustar")) {
		return false
	}
	want, err := strconv.ParseInt(strings.Trim(string(head[sumAt:sumEnd]), " \x00"), 8, 64)
	sum := int64(' ' * (sumEnd - sumAt)) // the sum is taken with spaces in its own place
	for i, b := range head[:size] {
		if i < sumAt || i >= sumEnd {
			sum += int64(b)
		}
	}
	return err == nil && sum == want
}

// isVMDKDescriptor recognizes the text file that names a VMDK's extents.
// Comments and blank lines may precede its title.
func isVMDKDescriptor(head []byte) bool {
	for line := range bytes.Lines(head) {
		line = bytes.TrimSpace(line)
		if bytes.EqualFold(line, []byte(vmdkText)) {
			return true
		}
		if len(line) > 0 && line[0] != '#' {
			return false
		}
	}
	return false
}

// Description is the format's name in a sentence.
func (f Format) Description() string {
	switch f {
	case FormatRaw:
		return "a RAW image"
	case FormatQCOW, FormatQCOW2, FormatQED:
		return "a QEMU image (" + string(f) + ")"
	case FormatVMDK:
		return "a VMware image (vmdk)"
	case FormatVHD, FormatVHDX:
		return "a Hyper-V image (" + string(f) + ")"
	case FormatVDI:
		return "a VirtualBox image (vdi)"
	case FormatOVA:
		return "an archive (tar, as an OVA is)"
	case FormatZVHD, FormatZVHD2:
		return "a compressed cloud image (" + string(f) + ")"
	case FormatGzip, FormatXZ, FormatZstd, FormatBzip2:
		return "compressed (" + string(f) + ")"
	}
	return string(f)
}

// Advice says what to do with a file of this format, called name, where it
// cannot be read: a command line where there is one.
func (f Format) Advice(name string) string {
	switch f {
	case FormatQCOW, FormatQCOW2, FormatQED, FormatVMDK, FormatVHDX, FormatVDI:
		return fmt.Sprintf("convert it first: qemu-img convert -f %s -O raw %s disk.raw", f, name)
	case FormatVHD:
		return fmt.Sprintf("convert it first: qemu-img convert -f vpc -O raw %s disk.raw", name)
	case FormatOVA:
		return fmt.Sprintf("unpack it first: tar -xf %s", name)
	case FormatGzip, FormatXZ, FormatZstd, FormatBzip2:
		return fmt.Sprintf("decompress it first: %s -dc %s > disk.raw", f, name)
	case FormatZVHD, FormatZVHD2:
		return "it is converted already; decode it first if a RAW image is wanted"
	}
	return "convert it to RAW first"
}
