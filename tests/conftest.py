from hypothesis import settings

# A loaded machine is not a fault of the code: how long a thing may take is measured in bench/.
settings.register_profile("house", deadline=None)
settings.load_profile("house")
