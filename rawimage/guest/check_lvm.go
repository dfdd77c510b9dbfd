package guest

// checkLVM: the service cannot inject files into a system disk on LVM.
var checkLVM = check{"lvm-system-disk", guideRegister, isLinux, (*exam).checkLVM}

func (e *exam) checkLVM(f *Finding) error {
	if e.root.Group != nil {
		f.found(StatusNote, Evidence{Path: e.root.Name}, "", "the root file system is on LVM: servers do not support file injection")
	}
	f.ok("the root file system is not on LVM")
	return nil
}
