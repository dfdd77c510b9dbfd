package realguest

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// protofile describes a directory to mkfs.xfs -p: an entry a line, in the order that
// a walk meets them, and a $ where a directory ends. Neither blanks in names nor device
// nodes are kept: Debian has no such names, and the kernel makes the nodes itself.
func protofile(t testing.TB, dir string) []byte {
	t.Helper()
	var b bytes.Buffer
	b.WriteString("/\n0 0\n")
	depth := 0 // of the directory that is open
	list := run(t, dir, "find", ".", "-not", "-name", "* *", "-printf", `%d\t%y\t%m\t%U\t%G\t%p\t%l\n`)
	for line := range strings.Lines(string(list)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		level, err := strconv.Atoi(f[0])
		require.NoError(t, err)
		for ; depth > level; depth-- {
			b.WriteString("$\n")
		}
		b.WriteString(protoLine(t, dir, f[1:]))
		if f[1] == "d" {
			depth = level + 1
		}
	}
	b.WriteString(strings.Repeat("$\n", depth))
	return b.Bytes()
}

// protoLine describes an entry of which find prints type, permissions, owner, group,
// path and target.
func protoLine(t testing.TB, dir string, f []string) string {
	t.Helper()
	kind, content := map[string]string{"f": "-", "d": "d", "l": "l"}[f[0]], ""
	switch kind {
	case "":
		return ""
	case "-":
		content = filepath.Join(dir, f[4])
	case "l":
		content = f[5]
	}
	mode, err := strconv.ParseUint(f[1], 8, 16)
	require.NoError(t, err)
	flag := func(bit uint64, letter string) string {
		if mode&bit != 0 {
			return letter
		}
		return "-"
	}
	name := filepath.Base(f[4])
	if name == "." {
		name = ""
	}
	return strings.TrimSpace(fmt.Sprintf("%s %s%s%s%03o %s %s %s", name, kind,
		flag(0o4000, "u"), flag(0o2000, "g"), mode&0o777, f[2], f[3], content)) + "\n"
}
