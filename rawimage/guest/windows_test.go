package guest_test

import (
	"maps"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fastimage/fastimage/rawimage/guest"
	gt "github.com/fastimage/fastimage/rawimage/guest/internal/guesttest"
)

const (
	services = `ControlSet002\Services\`
	sysdir   = "Windows/System32/"
)

// systemHive is the registry of a Windows that is ready for the cloud, changed; a
// nil value removes one.
func systemHive(change map[string]any) string {
	values := map[string]any{
		`Select\Current`:                                                           uint32(2),
		services + `viostor\Start`:                                                 uint32(0),
		services + `viostor\ImagePath`:                                             `System32\drivers\viostor.sys`,
		services + `vioscsi\Start`:                                                 uint32(0),
		services + `vioscsi\ImagePath`:                                             `\SystemRoot\System32\drivers\vioscsi.sys`,
		services + `netkvm\Start`:                                                  uint32(3),
		services + `balloon\Start`:                                                 uint32(3),
		services + `cloudbase-init\Start`:                                          uint32(2),
		services + `Tcpip\Parameters\Interfaces\{1}\EnableDHCP`:                    uint32(1),
		`ControlSet002\Control\Terminal Server\fDenyTSConnections`:                 uint32(0),
		`ControlSet002\Control\Session Manager\Environment\PROCESSOR_ARCHITECTURE`: "AMD64",
	}
	maps.Copy(values, change)
	maps.DeleteFunc(values, func(_ string, v any) bool { return v == nil })
	return string(gt.Hive(gt.Registry(values)))
}

func windowsTree() gt.Tree {
	const version = `Microsoft\Windows NT\CurrentVersion\`
	return gt.Tree{
		sysdir + "config/SYSTEM": systemHive(nil),
		sysdir + "config/SOFTWARE": string(gt.Hive(gt.Registry(map[string]any{
			version + "ProductName": "Windows Server 2019 Datacenter", version + "EditionID": "ServerDatacenter", version + "CurrentBuildNumber": "17763",
			version + "CurrentMajorVersionNumber": uint32(10), version + "CurrentMinorVersionNumber": uint32(0),
		}))),
		sysdir + "drivers/viostor.sys": "driver", sysdir + "drivers/vioscsi.sys": "driver", sysdir + "drivers/netkvm.sys": "driver",
	}
}

func windowsDisk(dirty bool, tree gt.Tree) []byte {
	return gt.MBR(true, gt.Partition{Type: 7, Active: true, Content: gt.NTFS(dirty, tree)})
}

func TestWindows(t *testing.T) {
	t.Parallel()
	r := examine(t, windowsDisk(false, windowsTree()))
	require.True(t, r.Examined, r.Reason)
	require.Equal(t, guest.OS{Type: "windows", ID: "windows", Name: "Windows Server 2019 Datacenter", Version: "10.0",
		Edition: "ServerDatacenter", Build: "17763", Pretty: "Windows Server 2019 Datacenter"}, r.OS)
	require.Equal(t, "x86_64", r.Architecture)
	for _, f := range r.Findings {
		require.Equal(t, guest.StatusOK, f.Status, "%+v", f)
	}
	best, ok, _ := guest.MatchOSVersion(r, nil)
	require.True(t, ok)
	require.Equal(t, "Windows Server 2019 Datacenter 64bit", best)
}

func TestWindowsChecks(t *testing.T) {
	t.Parallel()
	system := func(change map[string]any) gt.Tree { return gt.Tree{sysdir + "config/SYSTEM": systemHive(change)} }
	for _, c := range []struct {
		name, check string
		status      guest.Status
		change      gt.Tree
	}{
		{"no viostor", "windows-virtio-disk", guest.StatusWarn, system(map[string]any{services + `viostor\Start`: nil, services + `viostor\ImagePath`: nil})},
		{"viostor on demand, vioscsi too", "windows-virtio-disk", guest.StatusFail, system(map[string]any{services + `viostor\Start`: uint32(3), services + `vioscsi\Start`: uint32(3)})},
		{"no files of drivers", "windows-virtio-disk", guest.StatusFail, gt.Tree{sysdir + "drivers/viostor.sys": "", sysdir + "drivers/vioscsi.sys": ""}},
		{"no netkvm", "windows-virtio-net", guest.StatusFail, gt.Tree{sysdir + "drivers/netkvm.sys": "", sysdir + "config/SYSTEM": systemHive(map[string]any{services + `netkvm\Start`: nil})}},
		{"netkvm disabled", "windows-virtio-net", guest.StatusFail, system(map[string]any{services + `netkvm\Start`: uint32(4)})},
		{"no balloon", "windows-balloon", guest.StatusNote, system(map[string]any{services + `balloon\Start`: nil})},
		{"static address", "windows-dhcp", guest.StatusWarn, system(map[string]any{
			services + `Tcpip\Parameters\Interfaces\{1}\EnableDHCP`: uint32(0), services + `Tcpip\Parameters\Interfaces\{1}\IPAddress`: "10.1.2.3"})},
		{"remote desktop off", "windows-remote-desktop", guest.StatusWarn, system(map[string]any{`ControlSet002\Control\Terminal Server\fDenyTSConnections`: uint32(1)})},
		{"no cloudbase-init", "windows-cloudbase-init", guest.StatusWarn, system(map[string]any{services + `cloudbase-init\Start`: nil})},
		{"hibernated", "windows-hibernation", guest.StatusWarn, gt.Tree{"hiberfil.sys": "HIBR...."}},
	} {
		t.Run(c.check+"/"+c.name, func(t *testing.T) {
			t.Parallel()
			r := examine(t, windowsDisk(false, windowsTree().With(c.change)))
			require.True(t, r.Examined, r.Reason)
			f := finding(t, r, c.check)
			require.Equal(t, c.status, f.Status, "%+v", f)
		})
	}
	f := finding(t, examine(t, windowsDisk(true, windowsTree())), "windows-hibernation")
	require.Equal(t, guest.StatusWarn, f.Status, "%+v", f)
}
