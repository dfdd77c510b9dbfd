// Package magic tells the format of a file by its content: it has the one table
// of magic numbers that all packages use. A format is named by its usual short
// name, as in qemu-img where qemu-img knows the format.
package magic

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Raw is the format of what no magic number claims, and Text that of such a file
// if it is text.
const (
	Raw  = "raw"
	Text = "text"
)

const (
	// Head and Tail are how much of a file's start and end Detect looks at.
	Head = 36 << 10 // ISO 9660 has its mark at 32 KiB
	Tail = 512

	// ByteOrderMark may precede a text in UTF-8.
	ByteOrderMark = "\xef\xbb\xbf"

	vhdCookie = "conectix"
)

// table is in order of search: where two magics share a beginning, the longer
// one comes first.
var table = []struct {
	format string
	off    int
	magic  string
}{
	// Disk images.
	{"qcow", 0, "QFI\xfb\x00\x00\x00\x01"},
	{"qcow2", 0, "QFI\xfb"},
	{"qed", 0, "QED\x00"},
	{"vmdk", 0, "KDMV"},
	{"vmdk", 0, "COWD"},
	{"sesparse", 0, "\xbe\xba\xfe\xca\x00\x00\x00\x00"},
	{"vhdx", 0, "vhdxfile"},
	{"vhd", 0, vhdCookie},
	{"vdi", 64, "\x7f\x10\xda\xbe"},
	{"zvhd2", 0, "z2strm"},
	{"zvhd", 0, "stream\x00\x00"},
	{"parallels", 0, "WithoutFreeSpace"},
	{"parallels", 0, "WithouFreSpacExt"},
	{"bochs", 0, "Bochs Virtual HD Image"},
	{"cloop", 0, "#!/bin/sh\n#V2.0 Format\nmodprobe cloop"},
	{"ewf", 0, "EVF\x09\x0d\x0a\xff\x00"},
	{"ewf", 0, "EVF2\x0d\x0a\x81\x00"},
	{"ewf", 0, "LVF\x09\x0d\x0a\xff\x00"},
	{"aff", 0, "AFF10\r\n"},
	{"wim", 0, "MSWIM\x00\x00\x00"},
	{"android-sparse", 0, "\x3a\xff\x26\xed"},
	{"sparseimage", 0, "sprs"},
	{"sparseimage", 0, "encrcdsa"},
	{"partclone", 0, "partclone-image"},
	// What holds a disk encrypted.
	{"luks", 0, "LUKS\xba\xbe"},
	{"bitlocker", 3, "-FVE-FS-"},
	// Compressed files.
	{"gzip", 0, "\x1f\x8b\x08"},
	{"xz", 0, "\xfd7zXZ\x00"},
	{"zstd", 0, "\x28\xb5\x2f\xfd"},
	{"lz4", 0, "\x04\x22\x4d\x18"},
	{"lz4-legacy", 0, "\x02\x21\x4c\x18"},
	{"lzop", 0, "\x89LZO\x00\x0d\x0a\x1a\x0a"},
	{"lzip", 0, "LZIP\x01"},
	{"compress", 0, "\x1f\x9d"},
	// Archives and packages.
	{"zip", 0, "PK\x03\x04"},
	{"zip", 0, "PK\x05\x06"},
	{"zip", 0, "PK\x07\x08"},
	{"7z", 0, "7z\xbc\xaf\x27\x1c"},
	{"rar", 0, "Rar!\x1a\x07"},
	{"cab", 0, "MSCF\x00\x00\x00\x00"},
	{"xar", 0, "xar!"},
	{"rpm", 0, "\xed\xab\xee\xdb"},
	{"ar", 0, "!<arch>\n"},
	{"cpio", 0, "070701"},
	{"cpio", 0, "070702"},
	{"cpio", 0, "070707"},
	// Programs and documents.
	{"elf", 0, "\x7fELF"},
	{"macho", 0, "\xcf\xfa\xed\xfe"},
	{"macho", 0, "\xce\xfa\xed\xfe"},
	{"pdf", 0, "%PDF-"},
	{"png", 0, "\x89PNG\r\n\x1a\n"},
	{"jpeg", 0, "\xff\xd8\xff"},
}

// Detect tells a format by the first Head bytes of a file, or all there are, and
// its last Tail bytes; tail is nil if they are not known. What has no magic
// number is Raw. A file of more than Head bytes is no Text: it may be a disk that
// a guest has filled with text.
func Detect(head, tail []byte) string {
	if f := detect(head, tail); f != Text || len(head) < Head {
		return f
	}
	return Raw
}

func detect(head, tail []byte) string {
	for _, m := range table {
		if len(head) >= m.off+len(m.magic) && string(head[m.off:m.off+len(m.magic)]) == m.magic {
			return m.format
		}
	}
	for _, d := range []struct {
		is     func(head []byte) bool
		format string
	}{
		{isBzip2, "bzip2"}, {isSkippable, "zstd"}, {IsVMDKDescriptor, "vmdk"}, {isTar, "ova"},
		{isISO, "iso"}, {isLZMA, "lzma"},
	} {
		if d.is(head) {
			return d.format
		}
	}
	if f := detectTail(tail); f != "" {
		return f
	}
	return detectText(head, tail)
}

// DetectAt is Detect for the first size bytes of ra. It also looks past the
// skippable frames that a file of zstd or lz4 may start with.
func DetectAt(ra io.ReaderAt, size int64) (string, error) {
	head, err := read(ra, 0, min(size, Head))
	if err != nil {
		return "", err
	}
	tail, err := read(ra, max(0, size-Tail), min(size, Tail))
	if err != nil {
		return "", err
	}
	if isSkippable(head) {
		return detectFrames(ra, size)
	}
	if f := detect(head, tail); f != Text || size < maxText || size%sector != 0 {
		return f, nil
	}
	return Raw, nil
}

// A file of text that is at least this large and a multiple of the sector size is
// taken for a disk.
const (
	maxText = 1 << 20
	sector  = 512
)

func read(ra io.ReaderAt, off, n int64) ([]byte, error) {
	p := make([]byte, n)
	k, err := ra.ReadAt(p, off)
	if k == len(p) {
		return p, nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return nil, err
}

// detectTail finds what has its only mark at the end: a fixed VHD (Virtual PC
// before 2004 wrote a footer of 511 bytes) and Apple's disk image.
func detectTail(tail []byte) string {
	for _, cut := range []int{512, 511} {
		if len(tail) >= cut && bytes.HasPrefix(tail[len(tail)-cut:], []byte(vhdCookie)) {
			return "vhd"
		}
	}
	if len(tail) >= 512 && bytes.HasPrefix(tail[len(tail)-512:], []byte("koly\x00\x00\x00\x04")) {
		return "dmg"
	}
	return ""
}

// maxFrames bounds the skippable frames that are followed.
const maxFrames = 1 << 12

// isSkippable: zstd and lz4 share the magic numbers of frames without data.
func isSkippable(head []byte) bool {
	return len(head) >= 8 && binary.LittleEndian.Uint32(head)&^0xf == 0x184d2a50
}

// detectFrames tells zstd from lz4 by the first frame that is not skippable. What
// has none is taken for zstd, whose decoder says what is wrong with it.
func detectFrames(ra io.ReaderAt, size int64) (string, error) {
	off := int64(0)
	for range maxFrames {
		head, err := read(ra, off, min(8, max(0, size-off)))
		if err != nil {
			return "", err
		}
		if !isSkippable(head) {
			if bytes.HasPrefix(head, []byte("\x04\x22\x4d\x18")) {
				return "lz4", nil
			}
			break
		}
		off += 8 + int64(binary.LittleEndian.Uint32(head[4:]))
	}
	return "zstd", nil
}

// isBzip2 wants the level and the magic of the first block, or of the end, too:
// "BZh" alone is too short to refuse a disk for.
func isBzip2(head []byte) bool {
	if len(head) < 10 || string(head[:3]) != "BZh" || head[3] < '1' || head[3] > '9' {
		return false
	}
	return string(head[4:10]) == "1AY&SY" || string(head[4:10]) == "\x17\x72\x45\x38\x50\x90"
}

// isLZMA: the format of lzma has no magic number, but a properties byte, a
// dictionary size of 2^n or 2^n + 2^(n-1), a size that is unknown or less than
// 256 GiB, and a first byte of data that is always zero.
func isLZMA(head []byte) bool {
	if len(head) < 14 || head[0] != 0x5d || head[13] != 0 {
		return false
	}
	dict, size := binary.LittleEndian.Uint32(head[1:]), binary.LittleEndian.Uint64(head[5:])
	rest := dict
	for rest > 0 && rest&1 == 0 {
		rest >>= 1
	}
	return dict >= 1<<12 && (rest == 1 || rest == 3) && (size == 1<<64-1 || size < 1<<38)
}

// isTar verifies the checksum of the first header. The magic number of newer
// archives stands where a boot sector has its code, and v7 has none: there the
// name must be text too.
func isTar(head []byte) bool {
	const size, sumAt, sumEnd, magicAt = 512, 148, 156, 257
	if len(head) < size {
		return false
	}
	want, err := strconv.ParseInt(strings.Trim(string(head[sumAt:sumEnd]), " \x00"), 8, 64)
	if err != nil {
		return false
	}
	sum := int64(' ' * (sumEnd - sumAt)) // the sum counts its own field as spaces
	for i, b := range head[:size] {
		if i < sumAt || i >= sumEnd {
			sum += int64(b)
		}
	}
	if sum != want {
		return false
	}
	if bytes.HasPrefix(head[magicAt:], []byte("ustar")) {
		return true
	}
	name, _, _ := bytes.Cut(head[:100], []byte{0})
	return len(name) > 0 && isText(name)
}

// isISO: a file system for optical media that is not also a disk with a
// partition table, as the hybrid images are that start from both.
func isISO(head []byte) bool {
	const magicAt, tableAt, entries = 0x8001, 446, 64
	if len(head) < magicAt+5 || string(head[magicAt:magicAt+5]) != "CD001" {
		return false
	}
	table := head[tableAt : tableAt+entries]
	return head[510] != 0x55 || head[511] != 0xaa || bytes.Equal(table, make([]byte, entries))
}

// IsVMDKDescriptor recognizes the text that lists the extents of a VMDK. It
// begins with comments, of which one is its title, or with its version.
func IsVMDKDescriptor(head []byte) bool {
	head = bytes.TrimPrefix(head, []byte(ByteOrderMark))
	for line := range bytes.Lines(head[:min(len(head), 4096)]) {
		line = bytes.ToLower(bytes.TrimSpace(line))
		if bytes.HasPrefix(line, []byte("# disk descriptorfile")) {
			return true
		}
		if k, _, ok := bytes.Cut(line, []byte("=")); ok && string(bytes.TrimSpace(k)) == "version" {
			return bytes.Contains(bytes.ToLower(head), []byte("createtype")) || hasExtent(head)
		}
		if len(line) > 0 && line[0] != '#' {
			return false
		}
	}
	return false
}

// hasExtent finds a line such as RW 4192256 SPARSE "disk-s001.vmdk".
func hasExtent(head []byte) bool {
	for line := range bytes.Lines(head) {
		f := bytes.Fields(bytes.ToLower(line))
		if len(f) >= 3 && (string(f[0]) == "rw" || string(f[0]) == "rdonly" || string(f[0]) == "noaccess") {
			if _, err := strconv.ParseUint(string(f[1]), 10, 64); err == nil {
				return true
			}
		}
	}
	return false
}

// detectText tells texts apart: both ends of the file are text without zero
// bytes.
func detectText(head, tail []byte) string {
	text := bytes.TrimPrefix(head, []byte(ByteOrderMark))
	text = text[:min(len(text), 4096)]
	if len(bytes.TrimSpace(text)) == 0 || !isText(text) || tail != nil && !isText(tail) {
		return Raw
	}
	start := strings.ToLower(string(bytes.TrimSpace(text)))
	switch {
	case strings.Contains(start, "<envelope") || strings.Contains(start, ":envelope"):
		return "ovf"
	case strings.Contains(start, "<virtualbox"):
		return "vbox"
	case strings.HasPrefix(start, "<!doctype html"), strings.HasPrefix(start, "<html"):
		return "html"
	case strings.HasPrefix(start, "<?xml"), strings.HasPrefix(start, "<"):
		return "xml"
	}
	return Text
}

// isText reports whether p is printable text; it may begin and end inside of a
// character.
func isText(p []byte) bool {
	for i := 0; i < utf8.UTFMax-1 && len(p) > 0 && !utf8.RuneStart(p[0]); i++ {
		p = p[1:]
	}
	for len(p) > 0 {
		r, n := utf8.DecodeRune(p)
		if r == utf8.RuneError && n <= 1 {
			return !utf8.FullRune(p)
		}
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' && r != '\f' || r == 0x7f {
			return false
		}
		p = p[n:]
	}
	return true
}
