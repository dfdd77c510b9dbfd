package guest

import "strings"

// checkForeignTools: tools and drivers of the hypervisor that the guest comes from
// slow down or hinder it elsewhere.
var checkForeignTools = check{"foreign-tools", guideLinux, isLinux, (*exam).checkForeignTools}

// foreignTools are the files that tell tools of other platforms.
var foreignTools = []struct{ path, name, pkg string }{
	{"usr/bin/vmtoolsd", "VMware Tools", "open-vm-tools"}, {"usr/sbin/vmware-guestd", "VMware Tools", "vmware-tools"},
	{"etc/vmware-tools/services.sh", "VMware Tools", "vmware-tools"}, {"usr/sbin/VBoxService", "VirtualBox Guest Additions", "virtualbox-guest-utils"},
	{"usr/sbin/xe-daemon", "XenServer Tools", "xe-guest-utilities"}, {"usr/sbin/xe-linux-distribution", "XenServer Tools", "xe-guest-utilities"},
	{"usr/sbin/waagent", "Azure Linux Agent", "walinuxagent"}, {"usr/sbin/hv_kvp_daemon", "Hyper-V daemons", "hyperv-daemons"},
	{"usr/bin/google_guest_agent", "Google guest agent", "google-guest-agent"}, {"usr/bin/amazon-ssm-agent", "Amazon SSM agent", "amazon-ssm-agent"},
	{"usr/bin/prltoolsd", "Parallels Tools", "parallels-tools"}, {"etc/uvp-monitor", "UVP tools", "uvp-monitor"},
}

func (e *exam) checkForeignTools(f *Finding) error {
	for _, t := range foreignTools {
		if exists(e.tree, t.path) {
			f.found(StatusWarn, Evidence{Path: t.path}, "remove the package "+t.pkg, "%s of the old platform is installed", t.name)
		}
	}
	for i, line := range lines(e.tree, "etc/X11/xorg.conf") {
		if l := strings.ToLower(line); strings.Contains(l, "driver") && (strings.Contains(l, "\"vmware\"") || strings.Contains(l, "\"vboxvideo\"") || strings.Contains(l, "\"nvidia\"")) {
			f.found(StatusWarn, Evidence{"etc/X11/xorg.conf", i + 1, strings.TrimSpace(line)}, "rm /etc/X11/xorg.conf", "the X server is configured for the old machine's graphics card")
		}
	}
	f.ok("no tools of another platform are installed")
	return nil
}
