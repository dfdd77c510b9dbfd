package ova_test

import (
	"testing"
)

// FuzzNew checks that no archive causes a panic or a hang, and that all members
// are within the archive.
func FuzzNew(f *testing.F) {
	f.Add(archive(f, member{"vm.ovf", "x"}, member{"vm.mf", "SHA1(vm.ovf)= 11f6ad8ec52a2984abaafd7c3b516503785c2072"}, member{"a.vmdk", "disk"}))
	f.Add(archive(f, member{"a.vmdk.000000000", "disk"}, member{"._b", ""}))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := open(b)
		if err != nil {
			return
		}
		for _, m := range a.Members() {
			if !m.Sparse && (m.Offset < 0 || m.Size < 0 || m.Size > int64(len(b))-m.Offset) {
				t.Fatalf("%+v of %d bytes", m, len(b))
			}
		}
		if m, err := a.Disk(""); err == nil {
			_ = a.Verify(t.Context(), m)
		}
	})
}
