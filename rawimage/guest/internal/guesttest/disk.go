package guesttest

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
	"unicode/utf16"
)

// Partition is one partition of a disk.
type Partition struct {
	Type    byte   // of an MBR
	Active  bool   // of an MBR
	GUID    string // type in a GPT
	ID      string // of a partition in a GPT
	Name    string // of a partition in a GPT
	Content []byte
}

// Types of partitions in a GPT.
const (
	TypeLinux = "0fc63daf-8483-4772-8e79-3d69d8477de4"
	TypeESP   = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b"
	TypeBIOS  = "21686148-6449-6e6f-744e-656564454649"
)

const mib = 1 << 20

// MBR returns a disk with an MBR that has GRUB's boot code, or none.
func MBR(bootCode bool, parts ...Partition) []byte {
	img := make([]byte, mib)
	if bootCode {
		grub(img)
	}
	le.PutUint32(img[440:], 0xcafe1234)
	img[510], img[511] = 0x55, 0xaa
	for i, p := range parts {
		e := img[446+i*16:]
		if p.Active {
			e[0] = 0x80
		}
		e[4] = max(p.Type, 0)
		if p.Type == 0 {
			e[4] = 0x83
		}
		start := len(img)
		img = append(img, pad(p.Content)...)
		e = img[446+i*16:]
		le.PutUint32(e[8:], uint32(start/512))
		le.PutUint32(e[12:], uint32((len(img)-start)/512))
	}
	return img
}

// grub writes boot code that looks like GRUB's boot.img and core.img.
func grub(img []byte) {
	copy(img, "\xeb\x63\x90")
	copy(img[0x60:], bytes.Repeat([]byte{0x90}, 0x100))
	le.PutUint64(img[0x5c:], 1)
	copy(img[0x180:], "GRUB \x00Geom\x00Hard Disk\x00Read\x00 Error")
	copy(img[512:], "\x52\xe8\x28\x01\x74\x08core")
}

func pad(p []byte) []byte { return append(slices.Clone(p), make([]byte, (mib-len(p)%mib)%mib)...) }

// GPT returns a disk with a GPT.
func GPT(bootCode bool, parts ...Partition) []byte {
	img := MBR(bootCode)
	entries := make([]byte, 128*128)
	for i, p := range parts {
		e := entries[i*128:]
		copy(e, mixed(p.GUID))
		id := p.ID
		if id == "" {
			id = fmt.Sprintf("00000000-0000-4000-8000-%012x", i+1)
		}
		copy(e[16:], mixed(id))
		start := len(img)
		img = append(img, pad(p.Content)...)
		le.PutUint64(e[32:], uint64(start/512))
		le.PutUint64(e[40:], uint64(len(img)/512-1))
		for k, u := range utf16.Encode([]rune(p.Name)) {
			le.PutUint16(e[56+k*2:], u)
		}
	}
	img = append(img, make([]byte, mib)...)
	e := img[446:]
	clear(e[:64])
	e[4] = 0xee
	last := uint64(len(img)/512 - 1)
	le.PutUint32(e[8:], 1)
	le.PutUint32(e[12:], uint32(last))
	if bootCode {
		// core.img is in the BIOS boot partition.
		at := 34 * 512
		le.PutUint64(img[0x5c:], 34)
		copy(img[at:], "\x52\xe8\x28\x01\x74\x08core")
	}
	copy(img[2*512:], entries)
	copy(img[(last-32)*512:], entries)
	copy(img[512:], gptHeader(1, last, 2, entries))
	copy(img[last*512:], gptHeader(last, 1, last-32, entries))
	return img
}

func gptHeader(at, other, table uint64, entries []byte) []byte {
	h := make([]byte, 512)
	copy(h, "EFI PART")
	le.PutUint32(h[8:], 0x10000)
	le.PutUint32(h[12:], 92)
	le.PutUint64(h[24:], at)
	le.PutUint64(h[32:], other)
	le.PutUint64(h[40:], 34)
	le.PutUint64(h[48:], max(at, other)-34)
	copy(h[56:], mixed("11111111-2222-4333-8444-555555555555"))
	le.PutUint64(h[72:], table)
	le.PutUint32(h[80:], 128)
	le.PutUint32(h[84:], 128)
	le.PutUint32(h[88:], crc32.ChecksumIEEE(entries))
	le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:92]))
	return h
}

// mixed returns a GUID as a GPT has it: the first three groups little-endian.
func mixed(s string) []byte {
	p := UUID(s)
	slices.Reverse(p[:4])
	slices.Reverse(p[4:6])
	slices.Reverse(p[6:8])
	return p
}

// CPIO returns an archive of the format newc.
func CPIO(files Tree) []byte {
	var b bytes.Buffer
	entry := func(name, content string, mode int) {
		fmt.Fprintf(&b, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", 1, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0)
		b.WriteString(name + "\x00")
		b.Write(make([]byte, (4-b.Len()%4)%4))
		b.WriteString(content)
		b.Write(make([]byte, (4-b.Len()%4)%4))
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		entry(name, files[name], 0x81a4)
	}
	entry("TRAILER!!!", "", 0)
	return b.Bytes()
}
