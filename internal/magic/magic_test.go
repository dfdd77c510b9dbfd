package magic_test

import (
	"archive/tar"
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/magic"
)

// at is a file of 64 KiB with s at off.
func at(off int, s string) []byte {
	b := bytes.Repeat([]byte{0x91, 0, 0x7f, 3}, 16<<10)
	copy(b[off:], s)
	return b
}

func v7tar(t *testing.T) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	require.NoError(t, w.WriteHeader(&tar.Header{Name: "disk.raw", Mode: 0o600, Size: 4}))
	_, err := w.Write([]byte("disk"))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	b := buf.Bytes()
	clear(b[257:265])
	sum := 0
	copy(b[148:156], "        ")
	for _, c := range b[:512] {
		sum += int(c)
	}
	copy(b[148:], []byte{byte('0' + sum>>15&7), byte('0' + sum>>12&7), byte('0' + sum>>9&7), byte('0' + sum>>6&7), byte('0' + sum>>3&7), byte('0' + sum&7), 0, ' '})
	return b
}

func TestDetectAt(t *testing.T) {
	t.Parallel()
	iso := at(0x8001, "CD001")
	hybrid := at(0x8001, "CD001")
	clear(hybrid[446:510])
	hybrid[450], hybrid[458] = 0x17, 9
	copy(hybrid[510:], "\x55\xaa")
	empty := bytes.Clone(hybrid)
	clear(empty[446:510])
	skip := "\x5a\x2a\x4d\x18\x03\x00\x00\x00abc"
	far := append([]byte("\x50\x2a\x4d\x18\x00\x00\x01\x00"), make([]byte, 1<<16)...)
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"noise":              {at(0, ""), "raw"},
		"zeros":              {make([]byte, 1<<16), "raw"},
		"one byte":           {[]byte{0}, "raw"},
		"zip":                {at(0, "PK\x03\x04"), "zip"},
		"empty zip":          {at(0, "PK\x05\x06"), "zip"},
		"7z":                 {at(0, "7z\xbc\xaf\x27\x1c"), "7z"},
		"lz4":                {at(0, "\x04\x22\x4d\x18"), "lz4"},
		"zstd":               {at(0, "\x28\xb5\x2f\xfd"), "zstd"},
		"pzstd":              {at(0, skip+"\x28\xb5\x2f\xfd"), "zstd"},
		"lz4, skipped":       {at(0, skip+skip+"\x04\x22\x4d\x18"), "lz4"},
		"zstd, far":          {append(bytes.Clone(far), "\x28\xb5\x2f\xfd"...), "zstd"},
		"lz4, far":           {append(bytes.Clone(far), "\x04\x22\x4d\x18"...), "lz4"},
		"skipped, then none": {at(0, skip), "zstd"},
		"skipped past end":   {at(0, "\x50\x2a\x4d\x18\xff\xff\xff\x7f"), "zstd"},
		"lzma":               {at(0, "\x5d\x00\x00\x80\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00"), "lzma"},
		"no lzma":            {at(0, "\x5d\x01\x02\x80\x00\xff\xff\xff\xff\xff\xff\xff\xff\x00"), "raw"},
		"bzip2":              {at(0, "BZh91AY&SY"), "bzip2"},
		"no bzip2":           {at(0, "BZhello"), "raw"},
		"dmg":                {at(1<<16-512, "koly\x00\x00\x00\x04"), "dmg"},
		"fixed vhd":          {at(1<<16-512, "conectix"), "vhd"},
		"v7 tar":             {v7tar(t), "ova"},
		"iso":                {iso, "iso"},
		"hybrid iso":         {hybrid, "raw"},
		"iso, empty table":   {empty, "iso"},
		"luks":               {at(0, "LUKS\xba\xbe\x00\x01"), "luks"},
		"parallels":          {at(0, "WithoutFreeSpace"), "parallels"},
		"parallels 2":        {at(0, "WithouFreSpacExt"), "parallels"},
		"bochs":              {at(0, "Bochs Virtual HD Image"), "bochs"},
		"cloop":              {at(0, "#!/bin/sh\n#V2.0 Format\nmodprobe cloop"), "cloop"},
		"E01":                {at(0, "EVF\x09\x0d\x0a\xff\x00"), "ewf"},
		"elf":                {at(0, "\x7fELF"), "elf"},
		"wim":                {at(0, "MSWIM\x00\x00\x00"), "wim"},
		"ovf":                {[]byte("<?xml version=\"1.0\"?>\n<ovf:Envelope xmlns=\"x\">\n"), "ovf"},
		"vbox":               {[]byte("<?xml version=\"1.0\"?>\n<VirtualBox>\n"), "vbox"},
		"web page":           {[]byte("<!DOCTYPE html>\n<html>Not found</html>"), "html"},
		"xml":                {[]byte("<?xml version=\"1.0\"?><x/>"), "xml"},
		"text of 5 bytes":    {[]byte("hello"), "text"},
		"text of a sector":   {bytes.Repeat([]byte("text and\n"), 57)[:512], "text"},
		"text in UTF-8":      {[]byte("\xef\xbb\xbfünïcode\n"), "text"},
		"a disk of text":     {bytes.Repeat([]byte("disk"), 1<<18), "raw"},
		"large text":         {bytes.Repeat([]byte("disk\n"), 1<<18+1), "text"},
		"descriptor":         {[]byte("# Disk DescriptorFile\nversion=1\n"), "vmdk"},
		"version first":      {[]byte("version=1\nCID=1\ncreateType=\"monolithicFlat\"\n"), "vmdk"},
		"lower case":         {[]byte("\n# disk descriptorfile\nVERSION = 1\n"), "vmdk"},
		"byte order mark":    {[]byte("\xef\xbb\xbf# Disk DescriptorFile\n"), "vmdk"},
		"extents":            {[]byte("# comment\nversion=1\nrw 8 flat \"x\" 0\n"), "vmdk"},
		"other version file": {[]byte("version=1\nname=x\n"), "text"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := magic.DetectAt(bytes.NewReader(c.file), int64(len(c.file)))
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
	_, err := magic.DetectAt(strings.NewReader("short"), 100)
	require.Error(t, err)
}

// Endless skippable frames are followed for a while only.
func TestDetectManyFrames(t *testing.T) {
	t.Parallel()
	b := bytes.Repeat([]byte("\x50\x2a\x4d\x18\x00\x00\x00\x00"), 1<<16)
	c := &counting{Reader: bytes.NewReader(b)}
	got, err := magic.DetectAt(c, int64(len(b)))
	require.NoError(t, err)
	require.Equal(t, "zstd", got)
	require.Less(t, c.reads, 5000)
}

type counting struct {
	*bytes.Reader
	reads int
}

func (c *counting) ReadAt(p []byte, off int64) (int, error) {
	c.reads++
	return c.Reader.ReadAt(p, off)
}
