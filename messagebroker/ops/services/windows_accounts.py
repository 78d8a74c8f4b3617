"""The right to log on as a service, which an account of the operator's must have; virtual accounts have it by themselves."""

from __future__ import annotations

from messagebroker.errors import ConfigurationError

RIGHT = "SeServiceLogonRight"


def allow_logon_as_service(account: str) -> None:
    """Gives the right; nothing changes when the account has it. `.\\name` is an account of this machine.

    Raises:
        ConfigurationError: there is no such account, or this is no administrator.
    """
    import pywintypes
    import win32security

    try:
        sid, _, _ = win32security.LookupAccountName(None, account.removeprefix(".\\"))
        policy = win32security.LsaOpenPolicy(None, win32security.POLICY_CREATE_ACCOUNT | win32security.POLICY_LOOKUP_NAMES)
        win32security.LsaAddAccountRights(policy, sid, (RIGHT,))
    except pywintypes.error as error:
        raise ConfigurationError(
            f"the account {account} cannot be given the right to log on as a service: {error.strerror};"
            " check its name, and run this as administrator"
        ) from error
