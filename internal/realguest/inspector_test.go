package realguest_test

import (
	"encoding/xml"
	"os"
	"os/exec"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/internal/realguest"
)

// inspection is what virt-inspector says of a disk.
type inspection struct {
	Systems []struct {
		Type    string   `xml:"name"`
		Arch    string   `xml:"arch"`
		Distro  string   `xml:"distro"`
		Version string   `xml:"product_name"`
		Mounts  []string `xml:"mountpoints>mountpoint"`
	} `xml:"operatingsystem"`
}

// libguestfs, which mounts the disk in a machine of its own, finds the same system at the
// same mount points. It takes minutes without KVM, and is not among the tools of CI.
func TestVirtInspector(t *testing.T) {
	realguest.Require(t)
	if os.Getenv("FASTIMAGE_LONG") != "1" {
		t.Skip("FASTIMAGE_LONG=1 compares with virt-inspector")
	}
	inspector, err := exec.LookPath("virt-inspector")
	if err != nil {
		t.Skip("virt-inspector is missing")
	}
	for _, g := range realguest.All() {
		if !slices.Contains([]string{"ext4", "lvm-xfs-boot-partition"}, g.Name) {
			continue
		}
		t.Run(g.Name, func(t *testing.T) {
			disk := realguest.Disk(t, g)
			cmd := exec.Command("nice", "-n", "10", inspector, "--no-applications", "--no-icon", "--format=raw", "-a", disk)
			cmd.Env = append(os.Environ(), realguest.GuestFS(t)...)
			out, err := cmd.Output()
			require.NoError(t, err)
			var theirs inspection
			require.NoError(t, xml.Unmarshal(out, &theirs))
			require.Len(t, theirs.Systems, 1)
			r, system := predict(t, disk, g), theirs.Systems[0]
			require.Equal(t, system.Type, r.OS.Type)
			require.Equal(t, system.Distro, r.OS.ID)
			require.Equal(t, system.Version, r.OS.Version)
			require.Equal(t, system.Arch, r.Architecture)
			var mounts []string
			for _, v := range r.Volumes {
				if v.Mount != "" {
					mounts = append(mounts, v.Mount)
				}
			}
			require.ElementsMatch(t, system.Mounts, mounts)
		})
	}
}
