# Run by mmdebstrap with the new system's folder as $1, after its packages are
# installed: puts into /usr/lib/outrigger what boots the guest. KERNEL is the
# package that depends on the kernel, MODULES the drivers that it needs to boot.
set -eu
out=$1/usr/lib/outrigger
mkdir -p "$out/modules" "$1/tmp/kernel"

chroot "$1" sh -c 'cd /usr/src/outrigger && gcc -static -Os -o /usr/lib/outrigger/init init.c personality.c'
rm -rf "$1/usr/src/outrigger"

# The kernel's package is not installed, only unpacked: installing it makes an
# initial RAM disk that nobody boots.
export APT_CONFIG=$MMDEBSTRAP_APT_CONFIG
package=$(apt-cache depends --important "$KERNEL" | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1)
cd "$1/tmp/kernel"
apt-get -o APT::Sandbox::User=root --quiet=2 download "${package:-$KERNEL}"
dpkg-deb -x ./*.deb .
mv boot/vmlinu* "$out/kernel"
chmod 644 "$out/kernel"
modules=$(echo "$PWD"/lib/modules/* "$PWD"/usr/lib/modules/*)
modules=${modules%% *}
for name in $MODULES; do
	find "$modules" \( -name "$name.ko" -o -name "$name.ko.xz" \) -exec cp {} "$out/modules" \;
done
for file in "$out"/modules/*.xz; do
	[ ! -e "$file" ] || xz -d "$file"
done

# Drivers of hardware that a guest never has are two thirds of the modules.
find "$modules/kernel/drivers" -mindepth 1 -maxdepth 1 ! -name block ! -name net ! -name virtio -exec rm -rf {} +
find "$modules/kernel/drivers/net" -mindepth 1 -maxdepth 1 -type d -exec rm -rf {} +
mkdir -p "$1/usr/lib/modules"
cp -a "$modules" "$1/usr/lib/modules/"
chroot "$1" depmod "${modules##*/}"
cd /
rm -rf "$1/tmp/kernel"
# The proxies of the computer that builds are not the guest's.
rm -f "$1/etc/apt/apt.conf.d/99mmdebstrap"
